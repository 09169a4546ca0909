package fuzz

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"syscall"

	"pmemlab/emu/fault"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2/platform"
)

// FaultPlan is the target of package emu/fault: plans as text, and which calls they fail.
//
// The first byte of an input says what the rest is. If it is even that is the text of a
// plan, with pieces as in planPieces; else a plan and calls in planNodes and planCalls.
var FaultPlan = Target{
	Name:     "FaultPlan",
	About:    "plans of faults: any text, and predicates in each other, asked about calls in any order",
	Accepted: "a plan",
	New:      newPlanInstance,
	Generate: planInputBytes,
	Seeds:    planSeeds,
}

// planNode is a predicate of an input, followed by its operands.
type planNode struct{ Kind, A, B byte }

// Layout is how it lies in bytes.
func (n *planNode) Layout(c *Codec) { c.Byte(&n.Kind); c.Byte(&n.A); c.Byte(&n.B) }

// planCall is a call of an input.
type planCall struct{ Kind, Path, Flags byte }

// Layout is how it lies in bytes.
func (n *planCall) Layout(c *Codec) { c.Byte(&n.Kind); c.Byte(&n.Path); c.Byte(&n.Flags) }

// planHead is what stands in front of calls and nodes.
type planHead struct {
	Structured byte // if odd
	Rules      byte
	Calls      byte // how many, the nodes are behind them
	Blank      byte // what is between words
}

// Layout is how it lies in bytes.
func (h *planHead) Layout(c *Codec) {
	c.Byte(&h.Structured)
	c.Byte(&h.Rules)
	c.Byte(&h.Calls)
	c.Byte(&h.Blank)
}

const mostPlanCalls, mostPlanText = 24, 2048

type planInstance struct {
	text  []byte
	calls []planCall
	nodes []planNode
}

func newPlanInstance() (Instance, error) { return &planInstance{}, nil }

// Close is Instance.Close.
func (*planInstance) Close() error { return nil }

// Run is Instance.Run.
func (i *planInstance) Run(input []byte) (bool, error) {
	if len(input) > 0 && input[0]%2 == 1 {
		return i.runTree(input)
	}
	i.text = i.text[:0]
	for _, b := range input[min(len(input), 1):min(len(input), mostPlanText)] {
		if b < 0x80 {
			i.text = append(i.text, b)
		} else {
			i.text = append(i.text, planPieces[int(b-0x80)%len(planPieces)]...)
		}
	}
	text := string(i.text)
	accepted, err := runPlanText(text)
	if err != nil {
		err = fmt.Errorf("plan %q: %w", text, err)
	}
	return accepted, err
}

// runPlanText holds that an error tells where it is, and that a plan prints as one that
// prints the same and chooses the same calls.
func runPlanText(text string) (bool, error) {
	plan, err := fault.Parse(text)
	if err != nil {
		return false, positioned(err.Error(), text)
	}
	printed := plan.String()
	again, err := fault.Parse(printed)
	if err != nil || again.String() != printed {
		return false, fmt.Errorf("it prints as %q and that as %q, %w", printed, again, err)
	}
	one, other := fault.Wrap(silentMachine{}, plan), fault.Wrap(silentMachine{}, again)
	for k, c := range planScript {
		if a, b := c.make(one), c.make(other); a != b {
			return false, fmt.Errorf("call %d is %v, and %v by what is printed: %q", k, a, b, printed)
		}
	}
	return true, nil
}

// positioned says whether a message begins with a line and a column that are in the text.
func positioned(message, text string) error {
	rest, found := strings.CutPrefix(message, "fault: ")
	line, rest, found1 := strings.Cut(rest, ":")
	column, rest, found2 := strings.Cut(rest, ": ")
	l, err1 := strconv.Atoi(line)
	c, err2 := strconv.Atoi(column)
	if !found || !found1 || !found2 || rest == "" || err1 != nil || err2 != nil || l < 1 || l > 1+strings.Count(text, "\n") {
		return fmt.Errorf("no position is in the error %q", message)
	}
	for ; l > 1; l-- {
		_, text, _ = strings.Cut(text, "\n")
	}
	if text, _, _ = strings.Cut(text, "\n"); c < 1 || c > len(text)+1 {
		return fmt.Errorf("there is no such place as in the error %q", message)
	}
	return nil
}

// planNumbers are the texts of the numbers that predicates have.
var planNumbers = [...]string{
	"0", "1", "2", "3", "4", "5", "7", "18446744073709551615", "18446744073709551616", "007", "+1", "-1", "1_0", "0x1", "9223372036854775808", "",
}

var planErrnos = []model.PlanRule{
	{Errno: "EIO", Of: syscall.EIO}, {Errno: "EACCES", Of: syscall.EACCES}, {Errno: "ENOSPC", Of: syscall.ENOSPC},
	{Errno: "4095", Of: 4095}, {Errno: "EINTR", Of: syscall.EINTR}, {Errno: "2147483647", Of: 1<<31 - 1}, {Errno: "ENOMEM", Of: syscall.ENOMEM},
	{Errno: "2147483648"}, // too large
}

// Globs and paths that match each other or don't.
var (
	planGlobs = [...]string{"*", "*/size", "/mnt/*", "/mnt/?", "*[a-c]*", "", "size", "bus/*/size", "??*", "*0*0"}
	planPaths = [...]string{"/mnt/a", "/mnt/dir/b", "bus/nd/devices/region0/size", "size", "", "bus/nd0/0", "c", "/mnt/"}
)

var planBlanks = [...]string{" ", "  ", "\n", " \t\r\n"}

var planLeaves = [...]string{"Op", "Call", "PathMatch", "Anonymous", "FileBacked", "Flags", "OnIndex", "FromIndex", "Randomly"}

// tree makes the predicate that begins with the next node.
func (i *planInstance) tree(depth int) *model.Predicate {
	var n planNode
	if len(i.nodes) > 0 && depth < 12 {
		n, i.nodes = i.nodes[0], i.nodes[1:]
	}
	p := &model.Predicate{}
	switch n.Kind % 16 {
	case 9, 10:
		p.Name = "And"
	case 11, 12:
		p.Name = "Or"
	case 13, 14:
		p.Name = "Not"
	case 15: // deep in others, seldom too deep
		p.Name = "Not"
		p.Operands = []*model.Predicate{i.tree(depth + 1)}
		if n.A < 32 {
			for range 88 + int(n.A) {
				p = &model.Predicate{Name: "Not", Operands: []*model.Predicate{p}}
			}
		}
		return p
	default:
		p.Name = planLeaves[n.Kind%16]
	}
	switch p.Name {
	case "And", "Or":
		for range 1 + n.A%3 {
			p.Operands = append(p.Operands, i.tree(depth+1))
		}
	case "Not":
		p.Operands = []*model.Predicate{i.tree(depth + 1)}
	case "Op":
		names := model.PlanCalls()
		p.Words = append(p.Words, names[int(n.A)%len(names)])
		if n.B%4 != 0 {
			p.Words = append(p.Words, names[int(n.B)%len(names)])
		}
	case "Flags":
		p.Words = append(p.Words, model.PlanFlags[int(n.A)%len(model.PlanFlags)].Name)
		if n.B%4 == 0 {
			p.Words = append(p.Words, model.PlanFlags[int(n.B/4)%len(model.PlanFlags)].Name)
		}
	case "PathMatch":
		p.Glob = planGlobs[int(n.A)%len(planGlobs)]
	case "Call", "OnIndex", "FromIndex", "Randomly":
		p.Always = n.B%2 == 0
		p.Number = planNumbers[n.A%8]
		if n.A >= 0xf0 {
			p.Number = planNumbers[n.A%16]
		}
	}
	return p
}

// runTree prints a plan, and has it and the model decide about calls.
func (i *planInstance) runTree(input []byte) (bool, error) {
	var h planHead
	input = Decode(input, &h)
	i.calls = DecodeAll(input[:min(len(input), int(h.Calls%mostPlanCalls)*3)], i.calls[:0], mostPlanCalls)
	i.nodes = DecodeAll(input[min(len(input), int(h.Calls%mostPlanCalls)*3):], i.nodes[:0], 64)
	nodes := i.nodes
	var rules []model.PlanRule
	valid := true
	i.text = i.text[:0]
	var printed []byte
	for k := range 1 + h.Rules%3 {
		r := planErrnos[int(h.Rules>>2+k)%len(planErrnos)]
		if h.Rules>>6 != k+1 {
			r.When = i.tree(0)
			valid = valid && r.When.Valid(1)
		}
		valid = valid && r.Of != 0
		rules = append(rules, r)
		if k > 0 {
			i.text, printed = append(i.text, planBlanks[h.Blank%4]...), append(printed, ' ')
		}
		i.text = r.Text(i.text, planBlanks[h.Blank%4], false)
		printed = r.Text(printed, " ", true)
	}
	i.nodes = nodes
	text := string(i.text)
	plan, err := fault.Parse(text)
	switch {
	case (err == nil) != valid:
		return false, fmt.Errorf("plan %q: got %w, want a plan: %t", text, err, valid)
	case err != nil:
		return false, positioned(err.Error(), text)
	case plan.String() != string(printed):
		return false, fmt.Errorf("plan %q: prints as %q, want %q", text, plan, printed)
	}
	p := fault.Wrap(silentMachine{}, plan)
	for seq, c := range i.calls {
		got := c.make(p)
		want := model.FailsBy(rules, c.described(seq))
		if got != want {
			return false, fmt.Errorf("plan %q: of calls %v number %d fails with %d, want %d", text, i.calls, seq, int(got), int(want))
		}
	}
	if n := p.Count(fault.All); n != len(i.calls) {
		return false, fmt.Errorf("%d calls are counted, %d were made", n, len(i.calls))
	}
	return true, nil
}

// described is what the model is told of a call.
func (c planCall) described(seq int) model.PlanCall {
	names := model.PlanCalls()
	m := model.PlanCall{Kind: names[int(c.Kind)%platformCalls], Path: c.path(), Seq: uint64(seq)}
	m.Flags = c.flags()
	return m
}

func (c planCall) path() string { return planPaths[int(c.Path)%len(planPaths)] }

// flags are those of the flags of its kind that the input has.
func (c planCall) flags() (flags int) {
	kind := model.PlanCalls()[int(c.Kind)%platformCalls]
	bit := 0
	for _, f := range model.PlanFlags {
		if f.Call == kind {
			if c.Flags>>bit&1 != 0 {
				flags |= f.Value
			}
			bit++
		}
	}
	return flags
}

// make makes the call.
func (c planCall) make(p platform.Platform) syscall.Errno {
	err := planMakers[int(c.Kind)%platformCalls](p, c.path(), c.flags())
	var e syscall.Errno
	if err != nil && !errors.As(err, &e) {
		return ^syscall.Errno(0)
	}
	return e
}

// planScript are the calls that every plan which is given as text is asked about.
var planScript = func() (script []planCall) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		script = append(script, planCall{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
	}
	return script
}()
