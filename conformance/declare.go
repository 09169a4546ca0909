package conformance

import (
	"fmt"
	"slices"
	"strings"

	"pmemlab/conformance/report"
)

// CheckDeclared compares what is said of a target with what is found there, and returns
// each contradiction. "mapsync" says that something is there, "!eadr" that it isn't, and
// "devdax.align=2097152" or "kernel=6.1" what there is of it: one of several, or the
// beginning of it up to a dot or a dash. The names are those of the target's facts, and
// the needs of the contract.
func CheckDeclared(t Target, declared []string) (wrong []string) {
	for _, text := range declared {
		if why := contradiction(t, text); why != "" {
			wrong = append(wrong, fmt.Sprintf("target %s: declared is %q: %s", t.Name(), text, why))
		}
	}
	return wrong
}

// CheckRequired returns what a target lacks of what it is required to have, each with
// the reason: names as for CheckDeclared, without "!".
func CheckRequired(t Target, required []string) (lacking []string) {
	for _, text := range required {
		why := "what is required must be there; that something isn't can be declared"
		if !strings.HasPrefix(text, "!") {
			why = contradiction(t, text)
		}
		if why != "" {
			lacking = append(lacking, fmt.Sprintf("target %s: required is %q: %s", t.Name(), text, why))
		}
	}
	return lacking
}

// contradiction says why a declaration isn't so, or "".
func contradiction(t Target, text string) string {
	name, value, hasValue := strings.Cut(text, "=")
	name, negated := strings.CutPrefix(name, "!")
	fact, found := factOf(t, name)
	switch {
	case !found:
		return fmt.Sprintf("nothing is known of %q here; known are %s", name, strings.Join(knownNames(t), ", "))
	case negated && hasValue:
		return "what isn't there has no value"
	case negated && fact.Has:
		return "it is there: " + describe(fact)
	case !negated && !fact.Has:
		return "it isn't there: " + describe(fact)
	case hasValue && !slices.ContainsFunc(strings.Split(fact.Value, ","), func(v string) bool { return isOrBegins(v, value) }):
		return "it is " + describe(fact)
	}
	return ""
}

// isOrBegins reports whether a value is the one that was declared, or goes on after it.
func isOrBegins(value, declared string) bool {
	rest, ok := strings.CutPrefix(value, declared)
	return ok && declared != "" && (rest == "" || rest[0] == '.' || rest[0] == '-')
}

// factOf is a fact of a target, or a need as one. A fact tells more than a need of its
// name: a need for eadr is one to switch it. But that there is a device, or a file system
// with DAX, isn't enough if no case can use it.
func factOf(t Target, name string) (fact report.Fact, found bool) {
	for _, f := range factsOf(t) {
		if f.Name == name {
			fact, found = f, true
		}
	}
	if !slices.Contains(Needs(), Need(name)) {
		return fact, found
	}
	why := lacksEverywhere(t, Need(name))
	switch both := Need(name) == NeedDevDax || Need(name) == NeedFSDax; {
	case found && both && why != "":
		fact.Has, fact.Why = false, why
	case !found:
		fact = report.Fact{Name: name, Has: why == "", Why: why}
	}
	return fact, true
}

func factsOf(t Target) []report.Fact {
	if p, ok := t.(Prober); ok {
		return p.Facts()
	}
	return nil
}

// lacksEverywhere says why no variant of a target can satisfy a need, or "".
func lacksEverywhere(t Target, n Need) string {
	var why []string
	for _, v := range t.Variants() {
		w := lacks(t, v, n)
		if w == "" {
			return ""
		}
		if !slices.Contains(why, w) {
			why = append(why, w)
		}
	}
	return strings.Join(why, "; ")
}

func knownNames(t Target) (names []string) {
	for _, f := range factsOf(t) {
		names = append(names, f.Name)
	}
	for _, n := range Needs() {
		if !slices.Contains(names, string(n)) {
			names = append(names, string(n))
		}
	}
	return names
}

// describe is a fact in words: "2097152 (why)".
func describe(f report.Fact) string {
	switch {
	case f.Value != "" && f.Why != "":
		return f.Value + " (" + f.Why + ")"
	case f.Value != "":
		return f.Value
	case f.Why != "":
		return f.Why
	}
	return "there is no more to say"
}
