package pmem2_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	"pmemlab/emu"
	"pmemlab/pmem2"
)

// guardedFile is a file that knows whether an unsafe shutdown may have corrupted it,
// by the recipe of libpmem2_unsafe_shutdown(7): its first bytes hold the unsafe
// shutdown count and the identifier of the NVDIMMs that it lay on when it was last
// opened, and a flag that says that it is in use.
type guardedFile struct {
	*pmem2.Map
	usc uint64
	id  string
}

const (
	uscAt   = 0 // 8 bytes
	inUseAt = 8
	idAt    = 16 // 2 bytes of length, then the identifier
	headEnd = 4096
)

var errCorrupted = errors.New("unsafe shutdown while the file was in use: its data may be corrupted")

func openGuarded(fd int, opts ...pmem2.Option) (*guardedFile, error) {
	src, err := pmem2.SourceFromFD(fd, opts...)
	if err != nil {
		return nil, err
	}
	g := &guardedFile{}
	// Hardware that doesn't count is no error: nothing can be detected then.
	if g.usc, err = src.DeviceUSC(); err != nil && !errors.Is(err, pmem2.ErrNoSupp) {
		return nil, err
	}
	if g.id, err = src.DeviceID(); err != nil && !errors.Is(err, pmem2.ErrNoSupp) {
		return nil, err
	}
	if len(g.id) > headEnd-idAt-2 {
		return nil, fmt.Errorf("no room for an identifier of %d bytes", len(g.id))
	}
	cfg := pmem2.NewConfig()
	cfg.SetRequiredStoreGranularity(pmem2.GranularityPage)
	if g.Map, err = pmem2.NewMap(cfg, src); err != nil {
		return nil, err
	}
	head := g.Bytes()[:headEnd]
	id := head[idAt+2:]
	id = id[:min(len(id), int(binary.LittleEndian.Uint16(head[idAt:])))]
	// On other NVDIMMs the stored count means nothing: the file was moved.
	if head[inUseAt] == 1 && string(id) == g.id && binary.LittleEndian.Uint64(head[uscAt:]) != g.usc {
		return nil, errors.Join(errCorrupted, g.Delete())
	}
	if err := g.mark(1); err != nil {
		return nil, errors.Join(err, g.Delete())
	}
	return g, nil
}

func (g *guardedFile) close() error { return errors.Join(g.mark(0), g.Delete()) }

// mark says whether the file is in use. The flag is cleared before anything else
// changes and set when all is there, and each step is flushed deeply: it must not
// rest on the mechanism whose failure it is to detect.
func (g *guardedFile) mark(inUse byte) error {
	head := g.Bytes()[:headEnd]
	head[inUseAt] = 0
	if err := g.DeepFlush(head); err != nil {
		return err
	}
	binary.LittleEndian.PutUint64(head[uscAt:], g.usc)
	binary.LittleEndian.PutUint16(head[idAt:], uint16(copy(head[idAt+2:], g.id)))
	if err := g.DeepFlush(head); err != nil {
		return err
	}
	head[inUseAt] = inUse
	return g.DeepFlush(head[inUseAt : inUseAt+1])
}

// The recipe of libpmem2_unsafe_shutdown(7).
func Example_unsafeShutdown() {
	m := emu.NewMachine(emu.Config{})
	dax := m.AddDevDax(emu.DevDax{Size: 4 << 20, Region: emu.Region{DIMMs: []emu.DIMM{{DirtyShutdowns: 5}, {DirtyShutdowns: 7}}}})
	f, err := dax.Open(os.O_RDWR)
	if err != nil {
		log.Fatal(err)
	}
	// What the hardware does when its flush on power failure doesn't work.
	shutdownFails := func(count int) {
		name := dax.DIMMPaths()[1] + "/nfit/dirty_shutdown"
		if err := m.Sysfs().Set(name, fmt.Sprintln(count)); err != nil {
			log.Fatal(err)
		}
	}
	start := func(what string) *guardedFile {
		g, err := openGuarded(f.FD(), pmem2.On(m))
		if err != nil {
			fmt.Printf("%s: %v\n", what, strings.ReplaceAll(err.Error(), "\n", " "))
			return nil
		}
		fmt.Printf("%s: count %d\n", what, g.usc)
		return g
	}

	g := start("the first time")
	g.close()

	shutdownFails(8)
	g = start("after an unsafe shutdown while nobody used it")

	g.Delete() // the program ends without closing
	g = start("after a crash that the hardware survived")

	g.Delete()
	shutdownFails(9)
	start("after an unsafe shutdown in use")

	fmt.Println(f.Close(), m.Shutdown())
	// Output:
	// the first time: count 12
	// after an unsafe shutdown while nobody used it: count 13
	// after a crash that the hardware survived: count 13
	// after an unsafe shutdown in use: unsafe shutdown while the file was in use: its data may be corrupted
	// <nil> <nil>
}
