"""The published models that this one is compared with: SaShiMi, WaveNet and SampleRNN."""
