"""Where features live: content-addressed arrays in safetensors shards, written once, read by mapping.

    <root>/store.json                    the schema
    <root>/shards/<name>.safetensors     finished shards; only ever added or removed, never changed
    <root>/partial/<name>                unfinished shards: what a killed writer loses

A shard's own header is the index: tensors are named ``<key>/<array>`` and the header's metadata
holds a checksum of each (over name, type, shape and bytes) and the encoder that made the entry. A shard
is there whole or not at all, so nothing can contradict it. Each writer writes shards of its own, so
writers never conflict. The newest intact copy of a key is the one that is read.
"""

from undertone.store.care import Damage, Stat
from undertone.store.core import Store, default_root
from undertone.store.shard import Entry
from undertone.store.writer import Writer

__all__ = ["Damage", "Entry", "Stat", "Store", "Writer", "default_root"]
