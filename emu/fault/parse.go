package fault

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// Parse reads plans as described at [Plan]; an empty text is the zero Plan. An
// error tells line and column, both from 1, the column in bytes.
func Parse(text string) (plan Plan, err error) {
	p := parser{text: text}
	defer func() {
		if r := recover(); r != nil {
			syntax, ok := r.(syntaxError)
			if !ok {
				panic(r)
			}
			plan, err = Plan{}, syntax
		}
	}()
	p.scan()
	for p.tok != "" {
		plan.rules = append(plan.rules, p.rule())
	}
	return plan, nil
}

// syntaxError is what the parser panics with.
type syntaxError struct{ msg string }

func (e syntaxError) Error() string { return e.msg }

// maxDepth limits how deep predicates are nested.
const maxDepth = 100

type parser struct {
	text  string
	rest  int    // index of what is not yet scanned
	tok   string // "(", ")", a quoted string, a word; "" at the end
	at    int    // index of tok
	depth int
	slots int // of the rule under way
}

// scan moves to the next token.
func (p *parser) scan() {
	const space = " \t\r\n"
	p.at = p.rest
	for p.at < len(p.text) && strings.IndexByte(space, p.text[p.at]) >= 0 {
		p.at++
	}
	rest := p.text[p.at:]
	switch {
	case rest == "":
		p.tok = ""
	case rest[0] == '(' || rest[0] == ')':
		p.tok = rest[:1]
	case rest[0] == '"':
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			p.fail("a string that isn't closed, or has an unknown escape")
		}
		p.tok = quoted
	default:
		n := strings.IndexAny(rest, space+`()"`)
		if n < 0 {
			n = len(rest)
		}
		p.tok = rest[:n]
	}
	p.rest = p.at + len(p.tok)
}

// fail ends parsing: the fault lies at the current token.
func (p *parser) fail(format string, args ...any) {
	before := p.text[:p.at]
	line := 1 + strings.Count(before, "\n")
	column := p.at - strings.LastIndexByte(before, '\n')
	panic(syntaxError{fmt.Sprintf("fault: %d:%d: %s", line, column, fmt.Sprintf(format, args...))})
}

// found names the current token in messages.
func (p *parser) found() string {
	if p.tok == "" {
		return "the end"
	}
	if p.tok[0] == '"' {
		return p.tok
	}
	return strconv.Quote(p.tok)
}

func (p *parser) expect(tok, what string) {
	if p.tok != tok {
		p.fail("%s where %s was expected", p.found(), what)
	}
	p.scan()
}

// isWord reports whether the current token is neither a parenthesis, nor a
// string, nor the end.
func (p *parser) isWord() bool {
	return p.tok != "" && strings.IndexByte(`()"`, p.tok[0]) < 0
}

func (p *parser) rule() rule {
	p.expect("(", `"(" of a plan`)
	if !p.isWord() {
		p.fail("%s where an errno was expected", p.found())
	}
	errno, ok := errnoByName(p.tok)
	if !ok {
		p.fail("unknown errno %s", p.found())
	}
	p.scan()
	p.slots = 0
	r := rule{errno: errno}
	if p.tok != ")" {
		r.when = p.predicate()
	}
	r.slots = p.slots
	p.expect(")", `")" after the predicate of a plan`)
	return r
}

func (p *parser) predicate() predicate {
	if p.depth++; p.depth > maxDepth {
		p.fail("more than %d predicates inside each other", maxDepth)
	}
	defer func() { p.depth-- }()
	p.expect("(", `"(" of a predicate`)
	if !p.isWord() {
		p.fail("%s where the name of a predicate was expected", p.found())
	}
	q := p.named()
	p.expect(")", `")"`)
	return q
}

// named reads a predicate from its name up to the closing parenthesis.
func (p *parser) named() predicate {
	name, at := p.tok, p.at
	p.scan()
	switch name {
	case "Op":
		return opIn{ops: p.ops()}
	case "Call":
		return callIs{n: p.number()}
	case "PathMatch":
		return pathMatch{glob: p.glob()}
	case "Anonymous":
		return anonymous{}
	case "FileBacked":
		return fileBacked{}
	case "Flags":
		return flagsSet{flags: p.flags()}
	case "OnIndex":
		return onIndex{p.slot(), p.number()}
	case "FromIndex":
		return fromIndex{p.slot(), p.number()}
	case "Randomly":
		return randomly{p.slot(), p.probability(), p.number()}
	case "And":
		return newAnd(p.operands(name))
	case "Or":
		return or{p.operands(name)}
	case "Not":
		return not{p.predicate()}
	}
	p.at, p.tok = at, name
	p.fail("unknown predicate %q", name)
	return nil
}

func (p *parser) slot() slot {
	p.slots++
	return slot(p.slots - 1)
}

func (p *parser) operands(name string) (operands []predicate) {
	for p.tok == "(" {
		operands = append(operands, p.predicate())
	}
	if len(operands) == 0 {
		p.fail("%s where a predicate of %s was expected", p.found(), name)
	}
	return operands
}

func (p *parser) ops() (ops Op) {
	for ; p.isWord(); p.scan() {
		op, ok := opByName(p.tok)
		if !ok {
			p.fail("unknown kind of call %s", p.found())
		}
		ops |= op
	}
	if ops == 0 {
		p.fail("%s where a kind of call was expected", p.found())
	}
	return ops
}

// flags reads flags of one kind of call that can be set together.
func (p *parser) flags() (chosen []flag) {
	for ; p.isWord(); p.scan() {
		f, ok := flagByName(p.tok)
		if !ok {
			p.fail("unknown flag %s", p.found())
		}
		for _, g := range chosen {
			if f.op != g.op {
				p.fail("%s is a flag of %v, %s one of %v", f.name, f.op, g.name, g.op)
			}
			if both := f.mask & g.mask; f.value&both != g.value&both {
				p.fail("%s and %s exclude each other", f.name, g.name)
			}
		}
		chosen = append(chosen, f)
	}
	if len(chosen) == 0 {
		p.fail("%s where a flag was expected", p.found())
	}
	return chosen
}

func (p *parser) glob() string {
	glob, err := strconv.Unquote(p.tok)
	if err != nil || p.tok[0] != '"' {
		p.fail("%s where a string was expected", p.found())
	}
	if _, err := path.Match(flat(glob), ""); err != nil {
		p.fail("%s is no glob", p.found())
	}
	p.scan()
	return glob
}

func (p *parser) number() uint64 {
	n, err := strconv.ParseUint(p.tok, 10, 64)
	if err != nil {
		p.fail("%s where a number from 0 to 2^64-1 was expected", p.found())
	}
	p.scan()
	return n
}

func (p *parser) probability() float64 {
	n, err := strconv.ParseFloat(p.tok, 64)
	if err != nil || !(n >= 0 && n <= 1) {
		p.fail("%s where a probability from 0 to 1 was expected", p.found())
	}
	p.scan()
	return n
}
