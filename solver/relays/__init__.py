"""Plans of models that are cut several times, for many clients that share machines and links."""
