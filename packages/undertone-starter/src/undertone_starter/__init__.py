"""The weights of undertone's starter model, in ``model/``; there is no code here."""
