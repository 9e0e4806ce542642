"""Published models to compare with: SaShiMi, WaveNet and SampleRNN. Imports only ``model``."""
