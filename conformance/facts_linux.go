package conformance

import (
	"golang.org/x/sys/unix"

	"pmemlab/conformance/report"
)

// kernelFact is the release of the kernel that the process runs on.
func kernelFact() report.Fact {
	f := report.Fact{Name: "kernel", Why: "uname"}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		f.Why = "uname: " + err.Error()
		return f
	}
	f.Has, f.Value = true, unix.ByteSliceToString(u.Release[:])
	return f
}
