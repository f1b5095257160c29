"""The encoders in the box: pretrained networks in, packed weights with their licences and hashes out."""
