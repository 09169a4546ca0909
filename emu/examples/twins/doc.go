// Package twins holds programs that look like the bugs that a crash test is after, and are
// right: nothing may be found in them. Each is one habit, with a case that lives it.
package twins
