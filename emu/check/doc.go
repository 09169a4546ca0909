// Package check finds what is wrong with how a program persists memory: it's told of
// changes, flushes and fences, in the order in which they became visible, and judges them by
// rules with names. It runs nothing and maps no memory. Which images a power failure can
// leave is the business of package persist, which is fed by the same stream.
//
//	c := check.New(check.Config{})
//	c.Changed(op1, 0, 8, check.Exact) // A
//	c.Flush(op2, 0, 8, check.Weak)    // CLWB A, and no fence
//	for _, f := range c.Findings() {
//		fmt.Println(f.Rule, f.Text) // flushed-never-fenced ...
//	}
//
// # Rules
//
// Rules about loss ([Rule.Loses]):
//
//	store-never-flushed          changed, and no flush followed that could do something
//	flushed-never-fenced         flushed or stored non-temporally, and no fence followed
//	fenced-by-another-goroutine  ... but a fence of another goroutine, which does nothing
//	not-durable-at-commit        taken for durable when it wasn't
//	overwritten-before-durable   flushed, and overwritten before the fence
//	flush-outside-mapping        flushed where nothing is mapped
//	flush-left-out-for-eadr      flushed without an instruction on a machine that needs one
//	unmapped-before-durable      the mapping was deleted first, and nothing helped later
//
// Rules about waste:
//
//	flush-of-clean-line          no line of the range had been stored to
//	flushed-twice                nor since this goroutine flushed them
//	fence-without-effect         this goroutine had nothing to order
//
// The constants say of each what it means, what mends it, which operations a [Finding]
// names, and when it is proven.
//
// What is at risk is judged when [Checker.Findings] is called, as if the program ended
// there: never flushed, never fenced, fenced by another goroutine, unmapped. Each
// byte at risk is reported by one of them. The other rules are judged as things happen.
//
// # Proven and possible
//
// A finding about loss is proven also when stores aren't seen: content that was found and that nothing
// made durable is at risk whoever stored it, and whenever. A finding about waste isn't, in the
// default mode: a store of the content that was there can't be seen, and its flush is no waste.
// In exact mode ([Checker.Exact]) such stores are told of, and waste is proven.
//
// # No false alarms
//
// A flush of a range is useful if it is for one line of it. A goroutine has reason to
// flush a line once after each store to it, also if another goroutine has flushed it
// meanwhile: only its own fence makes it sure, and it can't know. A fence after any flush, one
// of clean lines, of a private mapping or of no bytes included, isn't waste: if something is, the
// flush was. So are msync and fsync never waste, which do more than is seen here. Under
// eADR no rule about waste applies: a program may well be made for machines without.
//
// # Bounds
//
// Lines with nothing at risk are forgotten past the last 4096. A second flush of a forgotten line is one of
// a clean line, and once one was forgotten that another goroutine may have reason to flush, that is
// only possible. In one line four changes are told apart; further ones are taken for the
// last. There are at most 10,000 findings ([Checker.Overflow]).
package check
