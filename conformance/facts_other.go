//go:build !linux

package conformance

import "pmemlab/conformance/report"

func kernelFact() report.Fact { return report.Fact{Name: "kernel", Why: errNotLinux.Error()} }
