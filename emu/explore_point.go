package emu

import (
	"encoding/json"
	"errors"
	"hash/maphash"
	"runtime/debug"
	"slices"
	"unsafe"

	"pmemlab/emu/internal/goroutine"
	"pmemlab/emu/persist"
)

type choice = persist.Choice

func nowhere(uint64, []byte) {}

// chosen is an image of a point: the cells that aren't at their newest content.
type chosen struct{ choices []choice }

// crashPoint is a point with what the workload had acknowledged, and the images that were
// found wrong at it.
type crashPoint struct {
	Point
	acks     []string
	newest   *blueprint // names and sizes as the workload knows them
	version  *crashVersion
	wrong    []wrongImage
	failures int  // images that were wrong
	told     bool // to a process
}

// wrongImage is an image, reduced, that was found wrong.
type wrongImage struct {
	lost    []choice // cells of the version that is looked at
	cause   string   // with nothing lost
	finding int      // its place in the list
}

// enter goes on to another version, whose cells are others.
func (p *crashPoint) enter(v *crashVersion) {
	p.version = v
	p.wrong = slices.DeleteFunc(p.wrong, func(w wrongImage) bool { return len(w.lost) > 0 })
}

// known is a wrong image that has nothing lost but what this one has lost too: most likely this
// is wrong for the same reason. With nothing lost it is if it says the same. nil: there's none.
func (p *crashPoint) known(image chosen, failure error) *wrongImage {
	i := slices.IndexFunc(p.wrong, func(w wrongImage) bool {
		if len(w.lost) == 0 {
			return w.cause == cause(failure)
		}
		return !slices.ContainsFunc(w.lost, func(c choice) bool {
			return !slices.ContainsFunc(image.choices, func(d choice) bool { return d.Cell == c.Cell })
		})
	})
	if i < 0 {
		return nil
	}
	return &p.wrong[i]
}

// cause is what an error says without stacks, which differ each time.
func cause(err error) string { return firstLine(err.Error()) }

// enumerate calls show with at most limit images, those with few lines lost first, until it
// returns false; set makes them. The choices are good until show returns.
func (v *crashVersion) enumerate(limit, seed uint64, set persist.Setter, show func([]choice) bool) {
	if v.images.Count() <= limit {
		for choices := range v.images.All(set) {
			if !show(choices) {
				return
			}
		}
		return
	}
	// The whole of 0, 1, 2 … lines, as far as it's half of the limit.
	whole, upTo := v.smallest(limit / 2)
	if whole > 0 {
		for choices := range v.images.All(set) {
			if len(choices) > upTo {
				break
			}
			if !show(choices) {
				return
			}
		}
	}
	for choices := range v.images.Sample(seed, limit-whole, set) {
		if len(choices) > upTo && !show(choices) {
			return
		}
	}
}

// imageHash is a checksum of all of memory: the sum of those of its lines.
type imageHash [2]uint64

func (h *imageHash) add(g imageHash) {
	h[0] ^= g[0]
	h[1] ^= g[1]
}

// imageKey is an image for a check: what it looks at. The hash is that of memory and of the plan.
type imageKey struct {
	imageHash
	acks int
}

// planHash is the checksum of all that an image has besides memory: names, sizes, bad blocks.
type planHash struct {
	boot *blueprint // whose it is
	hash imageHash
}

// of makes it that of boot, if it isn't yet.
func (h *planHash) of(boot *blueprint) error {
	if h.boot == boot {
		return nil
	}
	plan, err := json.Marshal(boot)
	if err != nil {
		return err
	}
	h.boot = boot
	for i, seed := range lineSeeds {
		h.hash[i] = maphash.Bytes(seed, plan)
	}
	return nil
}

// Two seeds, so that a chance agreement of two images is out of the question.
var lineSeeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

// hashLine is that of a line, or any range of whole lines; lines of zeroes have none.
func hashLine(object int, off uint64, line []byte) (h imageHash) {
	for ; len(line) > 0; line, off = line[min(lineSize, len(line)):], off+lineSize {
		part := line[:min(lineSize, len(line))]
		if !slices.ContainsFunc(part, func(b byte) bool { return b != 0 }) {
			continue
		}
		for i, seed := range lineSeeds {
			var m maphash.Hash
			m.SetSeed(seed)
			maphash.WriteComparable(&m, object)
			maphash.WriteComparable(&m, off)
			_, _ = m.Write(part)
			h[i] ^= m.Sum64()
		}
	}
	return h
}

func hashPages(pages map[int]map[uint64]*mediaPage) (h imageHash) {
	for number, of := range pages {
		for i, p := range of {
			h.add(hashLine(number, i*pageSize, p.data[:]))
		}
	}
	return h
}

// swap changes the hash for a page with another content.
func (h *imageHash) swap(object int, off uint64, old, next *mediaPage) {
	for at := uint64(0); at < pageSize; at += lineSize {
		was, is := old.data[at:at+lineSize], next.data[at:at+lineSize]
		if string(was) != string(is) {
			h.add(hashLine(object, off+at, was))
			h.add(hashLine(object, off+at, is))
		}
	}
}

// cellHashes are the hashes of the cells' contents, each made when it's first asked for.
type cellHashes struct {
	v     *crashVersion
	cells []map[uint64]imageHash
}

func newCellHashes(v *crashVersion) *cellHashes {
	return &cellHashes{v, make([]map[uint64]imageHash, v.images.Cells())}
}

func (c *cellHashes) content(cell int, version uint64) imageHash {
	h, ok := c.cells[cell][version]
	if !ok {
		off, size, _ := c.v.images.Cell(cell)
		object, at := c.v.where(off)
		p := make([]byte, size)
		c.v.images.Content(cell, version, p)
		h = hashLine(object, at, p)
		if c.cells[cell] == nil {
			c.cells[cell] = map[uint64]imageHash{}
		}
		if len(c.cells[cell]) < 1<<12 {
			c.cells[cell][version] = h
		}
	}
	return h
}

// background is the hash of what is durable for certain of a cell.
func (c *cellHashes) background(cell int) imageHash {
	off, size, _ := c.v.images.Cell(cell)
	object, at := c.v.where(off)
	page := c.v.pages[object][at/pageSize]
	if page == nil {
		return imageHash{}
	}
	return hashLine(object, at, page.data[at%pageSize:][:size])
}

// inProcess is a crew member that runs recoveries in this process.
type inProcess struct {
	do    func(*Crashed) error
	v     *crashVersion
	stage *stage
	point *crashPoint
	set   bool // some image's cells are
}

func (x *explorer) newMember() crewMember {
	if x.opts.InProcess {
		return &inProcess{do: x.do}
	}
	return newProcess(x)
}

func (w *inProcess) boot(v *crashVersion) error {
	if err := w.stop(); err != nil {
		return err
	}
	var err error
	w.v = v
	w.stage, err = newStage(v)
	return err
}

func (w *inProcess) refresh(pages []content) error {
	w.clean()
	for _, p := range pages {
		if o := w.stage.objects[p.Object]; o != nil && p.Off < uint64(len(o.mem.b)) {
			copy(o.mem.b[p.Off:], p.Data)
		}
	}
	return nil
}

// clean sets back the cells of the last point.
func (w *inProcess) clean() {
	if w.set {
		w.stage.reset(w.point.version.images)
		w.set = false
	}
}

func (w *inProcess) begin(p *crashPoint) {
	own := *p
	version := *p.version // its images change with the next point
	own.version = &version
	w.point = &own
}

func (w *inProcess) try(image chosen) (failure, err error) {
	w.set = true
	images := w.point.version.images
	images.Apply(image.choices, w.stage.setter())
	ok, failure := w.stage.run(func(m *Machine) error {
		return w.do(&Crashed{Machine: m, Acks: w.point.acks, Point: w.point.Point})
	})
	if ok {
		return failure, nil
	}
	if failure == nil {
		failure = w.stage.leftOpen()
	}
	return failure, w.renew() // the machine was changed
}

func (w *inProcess) renew() error {
	_ = w.stage.close() // what it says is left open is the recovery's failure
	w.stage = nil
	return w.boot(w.point.version)
}

// errGoexit is the failure of a recovery that didn't return.
var errGoexit = errors.New("recovery or check ended its goroutine, as t.FailNow does")

// tryShare has c try every step-th of the images, from one on. It's done in another goroutine,
// which a recovery may end.
func tryShare(c crewMember, images []chosen, failures []error, from, step int) (err error) {
	for i := from; i < len(images); i += step {
		done := make(chan struct{})
		go func() {
			defer close(done)
			// A fault on bad memory is a failure of this recovery, not of the process.
			debug.SetPanicOnFault(true)
			for ; i < len(images) && err == nil; i += step {
				failures[i] = errGoexit
				failures[i], err = c.try(images[i])
			}
		}()
		<-done
		if err == nil && i < len(images) {
			err = c.renew()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tryOne has c try an image.
func tryOne(c crewMember, image chosen) (failure, err error) {
	failures := [1]error{}
	err = tryShare(c, []chosen{image}, failures[:], 0, 1)
	return failures[0], err
}

func (w *inProcess) read() ([]readRange, bool) {
	if w.stage == nil {
		return nil, false
	}
	return w.stage.readBy()
}

func (w *inProcess) stop() error {
	if w.stage == nil {
		return nil
	}
	err := w.stage.close()
	w.stage, w.set = nil, false
	return err
}

// beforeCopy is the operation of a point before a copy.
const beforeCopy = "copy"

// copying tells the hook of a copy that is about to be made; storing calls it.
//
//go:noinline
//go:norace
func (r *recorder) copying(p unsafe.Pointer, n uintptr) {
	if hook := r.hook.Load(); hook != nil {
		var callers [goroutine.Depth]uintptr
		goroutine.Callers(callersSkip+1, &callers)
		(*hook)(operation{beforeCopy, goroutine.ID(), uintptr(p), uint64(n), callers})
	}
}
