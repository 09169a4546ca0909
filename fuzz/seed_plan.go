package fuzz

// PlanSeed is the input of the target FaultPlan that is the text of a plan.
func PlanSeed(text string) []byte { return append([]byte{0}, text...) }
