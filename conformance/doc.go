// Package conformance checks implementations of libpmem2 and libpmemset against their
// manual pages.
//
// The contract is data ([Rows]): a row for each promise of a page, with the ruling
// on what an implementation has to do. A [Case] is a function that checks rows, a
// [Subject] is the library that it checks, a [Target] is where: on the emulated
// machine ([Emulated]), on files of this one ([Files]), on its persistent memory
// ([Hardware]), or anywhere else that can be made an [Env].
//
// Expected usage, in the tests of a library:
//
//	func TestMain(m *testing.M) {
//		conformance.RunChild(library{})
//		os.Exit(m.Run())
//	}
//
//	func TestConformance(t *testing.T) { conformance.Run(t, conformance.Config{Subject: library{}}) }
//
// [Check] does it without a test. Package suite is a program that does it for this
// project's libraries and for C's, package selftest shows that broken ones are caught.
//
// # Power failures
//
// What is durable is also seen by cutting the power, at a target with [NeedCrash]: an Env
// that is a [PowerFailure] shows what a failure at this moment could leave, and the program
// goes on. Cases expect what must be there in every state, what may be lost in one at
// least, and that nothing else is left: in memory of a device DAX, of files with and without
// DAX, and with eADR, between the operations of a call too.
//
// # Statuses
//
// A row has the worst status of its cases in all variants of the target:
//
//   - pass, fail: the subject does, or doesn't do, what the ruling says. What a case
//     leaves open or mapped is a failure, and so is a panic in the subject.
//   - known-divergence: the subject does otherwise, exactly as a [Diverger] said that it
//     would. Better or worse than that is a failure.
//   - not-applicable: the contract has nothing to check. Nobody else can say so.
//   - not-supported: no case of the row could run, for what the target lacks, or because
//     the subject has no libpmemset. A row with a case that ran has the status of what
//     ran.
//   - error: the suite broke, and nothing is known: a place can't be made, a case
//     panics or doesn't end, a row has no case, a target has something that it says
//     it lacks or lacks something that it says it has.
//
// What is wrong with a run as a whole is a row of the page "(suite)", so that every
// report and every sum has it.
package conformance
