package fuzz

import "testing"

func FuzzFaultPlan(f *testing.F) { native(f, FaultPlan) }
