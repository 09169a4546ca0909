package conformance

import "iter"

// PowerFailure is what the Env of a target with NeedCrash is too: a place where the power
// can fail.
type PowerFailure interface {
	// PowerFails goes through what a failure of the power now could leave of files and
	// devices of the Env: the whole content of each after the next boot, in their order,
	// nil for a file that isn't there. It is to be read only, and good until the next.
	//
	// The program goes on as if the power hadn't failed: what is open and mapped stays
	// so. all says that there is no state but these; without it they are some of them, as
	// where a machine is really cut off, and what isn't among them may be possible.
	PowerFails(f Failure, objects ...Object) (states iter.Seq2[[][]byte, error], all bool, err error)
}

// Failure says what fails.
type Failure struct {
	// Possible adds what would need an order of stores that nobody saw.
	Possible bool
	// Unsafe is a failure of the hardware too: the DIMMs under the objects don't get what
	// was on its way to them. It needs NeedDIMM.
	Unsafe bool
	// Again has the power fail a second time after the boot, with nothing done between.
	Again bool
}
