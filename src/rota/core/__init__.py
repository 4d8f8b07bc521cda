"""What every domain stands on: timeline, events and clocks, policies by name, seeds, studies, verifiers, errors."""
