"""Small random checkpoints of every architecture, saved as the real ones are: no network in tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizerFast,
    Data2VecAudioConfig,
    Data2VecAudioModel,
    DebertaV2Config,
    DebertaV2Model,
    DistilBertConfig,
    DistilBertModel,
    HubertConfig,
    HubertModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2BertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

WIDTH = 32
SMALL = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}
CONVS = {
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,  # oneDNN with AMX is wrong in bf16 with under 16 channels a group
}
WORDS = (
    "i you can not believe it this is so good bad sad happy angry what why never again , . ! ' t don".split()
)
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "##s", "##ing", *"abcdefghijklmnopqrstuvwxyz"]
PIECES += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]


def _waves(folder: Path, normalise: bool = True) -> None:
    Wav2Vec2FeatureExtractor(do_normalize=normalise, return_attention_mask=False).save_pretrained(folder)


def wav2vec2_group(folder: Path) -> None:
    Wav2Vec2Model(Wav2Vec2Config(**SMALL, **CONVS, feat_extract_norm="group")).save_pretrained(folder)
    _waves(folder)


def wav2vec2_layer(folder: Path) -> None:
    config = Wav2Vec2Config(
        **SMALL, **CONVS, feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True
    )
    Wav2Vec2Model(config).save_pretrained(folder)
    _waves(folder)


def hubert(folder: Path) -> None:
    HubertModel(HubertConfig(**SMALL, **CONVS)).save_pretrained(folder)
    _waves(folder)


def hubert_layer(folder: Path) -> None:
    config = HubertConfig(
        **SMALL, **CONVS, feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True
    )
    HubertModel(config).save_pretrained(folder)
    _waves(folder)


def wavlm(folder: Path) -> None:
    WavLMModel(WavLMConfig(**SMALL, **CONVS)).save_pretrained(folder)
    _waves(folder, normalise=False)


def wavlm_layer(folder: Path) -> None:
    config = WavLMConfig(**SMALL, **CONVS, feat_extract_norm="layer", do_stable_layer_norm=True)
    WavLMModel(config).save_pretrained(folder)
    _waves(folder)


def data2vec(folder: Path) -> None:
    convs = CONVS | {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5}
    Data2VecAudioModel(Data2VecAudioConfig(**SMALL, **convs)).save_pretrained(folder)
    _waves(folder)


def w2v_bert(folder: Path) -> None:
    config = Wav2Vec2BertConfig(**SMALL, feature_projection_input_dim=160, add_adapter=False)
    Wav2Vec2BertModel(config).save_pretrained(folder)
    SeamlessM4TFeatureExtractor(padding_value=1.0).save_pretrained(folder)


def whisper(folder: Path) -> None:
    """A window of 6 s in place of 30 s."""
    config = WhisperConfig(
        d_model=WIDTH,
        encoder_layers=3,
        encoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=48,
        max_source_positions=300,
        vocab_size=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        begin_suppress_tokens=None,
        suppress_tokens=None,
    )
    WhisperModel(config).save_pretrained(folder)
    WhisperFeatureExtractor(chunk_length=6).save_pretrained(folder)


SPEECH: dict[str, Callable[[Path], None]] = {
    "wav2vec2 with group norm": wav2vec2_group,
    "wav2vec2 with layer norm": wav2vec2_layer,
    "hubert": hubert,
    "hubert with layer norm": hubert_layer,
    "wavlm": wavlm,
    "wavlm with layer norm": wavlm_layer,
    "data2vec-audio": data2vec,
    "w2v-BERT": w2v_bert,
    "whisper": whisper,
}


def _wordpieces(folder: Path) -> None:
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(PIECES), encoding="utf-8")
    BertTokenizerFast(vocab=str(vocabulary), model_max_length=64).save_pretrained(folder)


def _bytes(folder: Path) -> None:
    """RoBERTa's kind of tokenizer: byte-level pieces, a leading space belongs to its word."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 3, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        sep_token="</s>",
        eos_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=64,
    ).save_pretrained(folder)


def bert(folder: Path) -> None:
    BertModel(BertConfig(**SMALL, vocab_size=len(PIECES), max_position_embeddings=64)).save_pretrained(folder)
    _wordpieces(folder)


def minilm(folder: Path) -> None:
    """As MiniLM is published: BERT, narrow."""
    config = BertConfig(
        **SMALL | {"num_hidden_layers": 2}, vocab_size=len(PIECES), max_position_embeddings=64
    )
    BertModel(config).save_pretrained(folder)
    _wordpieces(folder)


def distilbert(folder: Path) -> None:
    config = DistilBertConfig(
        dim=WIDTH, n_layers=2, n_heads=2, hidden_dim=48, vocab_size=len(PIECES), max_position_embeddings=64
    )
    DistilBertModel(config).save_pretrained(folder)
    _wordpieces(folder)


def roberta(folder: Path) -> None:
    config = RobertaConfig(**SMALL, vocab_size=320, max_position_embeddings=66, pad_token_id=1)
    RobertaModel(config).save_pretrained(folder)
    _bytes(folder)


def deberta(folder: Path) -> None:
    config = DebertaV2Config(
        **SMALL,
        vocab_size=len(PIECES),
        max_position_embeddings=64,
        relative_attention=True,
        position_buckets=16,
        pos_att_type=["p2c", "c2p"],
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        position_biased_input=False,
        type_vocab_size=0,
    )
    DebertaV2Model(config).save_pretrained(folder)
    _wordpieces(folder)


TEXT: dict[str, Callable[[Path], None]] = {
    "bert": bert,
    "MiniLM": minilm,
    "distilbert": distilbert,
    "roberta": roberta,
    "deberta-v2": deberta,
}


def make(build: Callable[[Path], None], folder: Path) -> Path:
    """A checkpoint with fixed random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(7)
    build(folder)
    return folder
