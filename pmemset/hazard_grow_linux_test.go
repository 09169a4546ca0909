package pmemset_test

import (
	"bytes"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"pmemlab/pmemset"
)

// TestHazardForeignAppend has another program append to a file that grows, before each
// call that the library makes. It must find what it has written: growing to a size that
// was worked out earlier would cut it off, and so would cutting back after a failure.
// Two moments the kernel gives no means to be safe in: within the cutting back itself,
// and within a growth that reaches farther than what was appended and is cut back later.
func TestHazardForeignAppend(t *testing.T) {
	const old, wanted = 64 * sceneK, 128 * sceneK
	for _, row := range []struct {
		name          string
		opportunistic bool // a failure behind the previous part is followed by a second attempt
		failures      int  // of mmap
		noFallocate   bool // the file system doesn't know it
		want          string
	}{
		{"succeeds", false, 0, false, "0"},
		{"fails", false, 1, false, "INVALID_PMEM2_MAP"},
		{"coalesced", true, 0, false, "0"},
		{"second attempt succeeds", true, 1, false, "0"},
		{"second attempt fails", true, 2, false, "INVALID_PMEM2_MAP"},
		{"without fallocate", false, 0, true, "0"},
		{"without fallocate, fails", false, 1, true, "INVALID_PMEM2_MAP"},
	} {
		for _, appended := range []int{8, 128 * sceneK} {
			t.Run(fmt.Sprintf("%s/%s", row.name, sceneSize(uint64(appended))), func(t *testing.T) {
				hazardEach(t, "all", func(s *scene, h *hazard) {
					precious := bytes.Repeat([]byte("precious"), appended/8)
					src := s.fixed(s.newFile(old))
					for k, last := 0, false; !last; k++ {
						set := s.roomySet()
						s.maps(set, src, 0, old)
						if row.opportunistic {
							s.coalescing(set, pmemset.CoalescingOpportunistic)
						}
						path := s.newFile(old)
						file := s.growing(path)
						calls, failures, at := 0, row.failures, uint64(0)
						h.on(func(c hazardCall) error {
							if c.fd < 0 {
								return nil
							}
							unsafe := c.op == "ftruncate" && (c.n < wanted || row.noFallocate) ||
								c.op == "fallocate" && appended < wanted-old && row.failures > 0
							if calls == k && !unsafe {
								at = h.appends(s, path, precious)
							}
							calls++
							switch {
							case c.op == "fallocate" && row.noFallocate:
								return syscall.EOPNOTSUPP
							case c.op == "mmap" && failures > 0:
								failures--
								return syscall.ENOMEM
							}
							return nil
						})
						d, err := s.mapAt(set, file, 0, wanted)
						h.off()
						last = calls <= k
						s.outcome(fmt.Sprintf("with %d bytes appended before call %d", appended, k), err, row.want)
						switch {
						case at > 0:
							if !bytes.Equal(s.reads(path, int64(at), appended), precious) {
								s.Fatalf("what was appended at %d before call %d is lost: the file has %d bytes", at, k, s.size(path))
							}
						case row.want == "0":
							s.sizeIs(path, wanted)
						default:
							s.sizeIs(path, old)
						}
						if err == nil && s.mappedOf(d) != d.Size {
							s.Error("what was mapped isn't there")
						}
						s.must(set.Delete())
						if k > 40 {
							s.Fatalf("%d calls: no end", calls)
						}
					}
				})
			})
		}
	}
}

// TestHazardTransferWhileGrowing has another source of the file read and write what the
// file has only as long as it grows for a map call that fails: a write that succeeded
// would be lost when the file is cut back.
func TestHazardTransferWhileGrowing(t *testing.T) {
	const old, wanted = 64 * sceneK, 128 * sceneK
	hazardEach(t, "all", func(s *scene, h *hazard) {
		path := s.newFile(old)
		set, file, other := s.set(nil), s.growing(path), s.growing(path)
		transfers := map[string]func([]byte, uint64) error{"read": other.PreadMCSafe, "write": other.PwriteMCSafe}
		for range 4 {
			var wg sync.WaitGroup
			h.on(func(c hazardCall) error {
				if c.op != "mmap" || c.fd < 0 {
					return nil
				}
				if n := s.size(path); n != wanted {
					s.Errorf("the file has %d bytes while it is mapped, want %d", n, wanted)
				}
				for what, transfer := range transfers {
					wg.Go(func() {
						s.outcome(what+" behind the end", transfer([]byte("precious"), old), "LENGTH_OUT_OF_RANGE")
						s.outcome(what+" at the end", transfer([]byte("precious"), old-8), "0")
					})
				}
				// The transfers wait for the end of this call; if they didn't, they would
				// be through by then.
				for range 2000 {
					runtime.Gosched()
				}
				return syscall.ENOMEM
			})
			concurrentWithin(time.Minute, func() {
				s.refuses("INVALID_PMEM2_MAP", set, file, 0, wanted)
				wg.Wait()
			})
			h.off()
			s.sizeIs(path, old)
		}
		if got := s.reads(path, old-8, 8); string(got) != "precious" {
			s.Errorf("the end of the file holds %q", got)
		}
	})
}
