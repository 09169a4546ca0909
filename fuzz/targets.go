package fuzz

// Targets are all targets, in the order in which they are run.
func Targets() []Target {
	return []Target{
		Empty,
		Map,
		Reservation,
		Existing,
		Flush,
		Memory,
		Set,
		Media,
		Sysfs,
		FaultPlan,
		Files,
		Crash,
	}
}

// Empty does nothing: what the engine itself costs.
var Empty = Target{
	Name:     "Empty",
	About:    "nothing at all: what the engine costs",
	Accepted: "taken",
	New:      func() (Instance, error) { return empty{}, nil },
	Generate: mapInputBytes,
}

type empty struct{}

func (empty) Run(input []byte) (bool, error) { return len(input) > 0, nil }
func (empty) Close() error                   { return nil }
