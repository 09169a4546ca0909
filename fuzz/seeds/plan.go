package seeds

import "pmemlab/fuzz"

// planSeeds are the inputs of the target FaultPlan: the plans by which a case has calls fail.
func planSeeds(t Trace) (seeds []seed, err error) {
	for _, plan := range t.Plans {
		seeds = append(seeds, seed{"FaultPlan", fuzz.PlanSeed(plan)})
	}
	return seeds, nil
}
