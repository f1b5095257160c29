"""The weights of undertone's open starter model, in ``model/``; there is no code here."""
