package fault

import (
	"strings"
	"syscall"
)

// Plan says which calls fail and with which errno. It is a constant: what is
// counted is counted by each Platform for itself. The zero Plan fails nothing.
//
// A plan is text, one or more of
//
//	(errno predicate)
//
// each of which sees every call; the first that chooses a call fails it. The
// errno is a name such as EIO, or a number. Without a predicate every call
// fails. The predicates are
//
//	(Op kind ...)       a call of one of these kinds: open close unlink
//	                    ftruncate fstat statx get-fl pread pwrite fallocate
//	                    fiemap fsync ars-capabilities clear-error mmap munmap
//	                    mremap msync read-attr write-attr readlink list, or of
//	                    the sets files, memory and sysfs
//	(Call n)            the n-th call of all since the last Reset, from 0
//	(PathMatch "glob")  open, unlink or a call on sysfs whose path matches: as
//	                    in package path, but * and ? match slashes as well
//	(Anonymous)         mmap with MAP_ANONYMOUS
//	(FileBacked)        mmap without MAP_ANONYMOUS
//	(Flags NAME ...)    a call with all of these flags, named as in C: O_ of
//	                    open, FALLOC_FL_ of fallocate, MAP_ of mmap, MREMAP_ of
//	                    mremap, MS_ of msync
//	(OnIndex n)         the n-th call that reaches this predicate, from 0
//	(FromIndex n)       that call and every later one that reaches it
//	(Randomly p seed)   each call that reaches it with probability p
//	(And predicate ...) all of them hold
//	(Or predicate ...)  one of them holds
//	(Not predicate)     it doesn't hold
//
// And asks first the predicates that look at nothing but the call, then those
// that count, OnIndex, FromIndex and Randomly or what holds one of them, in the
// order written, and stops at the first that doesn't hold. So
//
//	(EIO (And (OnIndex 2) (Op mmap munmap)))
//
// fails the third of all mmap and munmap calls, wherever OnIndex stands. Or asks
// all of its predicates about every call that reaches it.
type Plan struct{ rules []rule }

// rule is one errno and its predicate.
type rule struct {
	errno syscall.Errno
	when  predicate // nil: every call
	slots int       // that when has
}

// String is the plan as Parse reads it: single spaces, kinds of calls sorted.
func (p Plan) String() string {
	rules := make([]string, len(p.rules))
	for i, r := range p.rules {
		if r.when == nil {
			rules[i] = "(" + errnoName(r.errno) + ")"
		} else {
			rules[i] = "(" + errnoName(r.errno) + " " + r.when.String() + ")"
		}
	}
	return strings.Join(rules, " ")
}

// FailCall is the plan that fails the n-th call of all since the last Reset,
// Call.Seq == n: (errno (Call n)).
func FailCall(errno syscall.Errno, n int) Plan {
	return Plan{[]rule{{errno: errno, when: callIs{n: uint64(n)}}}}
}

// MustParse is Parse of a text that is known to be a plan; else it panics.
func MustParse(text string) Plan {
	p, err := Parse(text)
	if err != nil {
		panic(err)
	}
	return p
}
