"""Q-values that are linear in the features (Sutton and Barto 2018, section 9.4), as a family of ckptfmt."""
