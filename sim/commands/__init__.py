"""What the commands of ``tcsim`` do; ``sim.cli`` declares them and imports these modules when called."""
