package model

import (
	"math"
	"math/rand/v2"
	"syscall"
	"testing"

	"pmemlab/pmem2"
)

const testPage, huge = 4096, 2 << 20

// request is one of a file of 10 pages, all of it, that is granted.
func request(change func(q *MapRequest)) MapRequest {
	q := MapRequest{
		Source:      Source{Kind: File, Size: 10 * testPage, Align: testPage},
		Granularity: pmem2.GranularityPage, GranularitySet: true, Prot: pmem2.ProtRead | pmem2.ProtWrite,
		Machine: Machine{Page: testPage, Sync: true, AddressSpace: 1 << 47, Doubtful: 1 << 44, Memory: 1 << 30},
	}
	if change != nil {
		change(&q)
	}
	return q
}

// TestMap has the sentences of the page at their edges.
func TestMap(t *testing.T) {
	device := func(q *MapRequest) { q.Source = Source{Kind: DeviceDAX, Size: 16 * huge, Align: huge} }
	reserved := func(size, offset uint64, taken ...Extent) func(q *MapRequest) {
		return func(q *MapRequest) {
			q.Reservation = &Reservation{Addr: huge, Size: size, Offset: offset, Taken: taken}
		}
	}
	all := func(changes ...func(q *MapRequest)) func(q *MapRequest) {
		return func(q *MapRequest) {
			for _, c := range changes {
				c(q)
			}
		}
	}
	at := func(offset, length uint64) func(q *MapRequest) {
		return func(q *MapRequest) { q.Offset, q.Length = offset, length }
	}
	for name, c := range map[string]struct {
		change func(q *MapRequest)
		want   Result
		size   uint64
	}{
		"all":                            {nil, OK, 10 * testPage},
		"the last page":                  {at(9*testPage, testPage), OK, testPage},
		"length 0 from the last page":    {at(9*testPage, 0), OK, testPage},
		"a page past the end":            {at(9*testPage, 2*testPage), Fails(pmem2.ErrMapRange), 0},
		"length 0 at the end":            {at(10*testPage, 0), Fails(pmem2.ErrMapRange), 0},
		"behind the end":                 {at(11*testPage, testPage), Fails(pmem2.ErrMapRange), 0},
		"a sum of 2^64":                  {at(testPage, 1<<64-testPage), Fails(pmem2.ErrMapRange), 0},
		"a sum that wraps":               {at(2*testPage, 1<<64-testPage), Fails(pmem2.ErrMapRange), 0},
		"a misaligned offset":            {at(testPage-1, testPage), Fails(pmem2.ErrOffsetUnaligned), 0},
		"a misaligned length":            {at(0, testPage+1), Fails(pmem2.ErrLengthUnaligned), 0},
		"an offset that a device can't":  {all(device, at(testPage, huge)), Fails(pmem2.ErrOffsetUnaligned), 0},
		"a length that a device can't":   {all(device, at(huge, testPage)), Fails(pmem2.ErrLengthUnaligned), 0},
		"a file that isn't whole pages":  {func(q *MapRequest) { q.Source.Size = 5000 }, OK, 5000},
		"empty, and misaligned":          {func(q *MapRequest) { q.Source.Size, q.Length = 0, 1 }, Fails(pmem2.ErrSourceEmpty), 0},
		"private device DAX":             {all(device, func(q *MapRequest) { q.Sharing = pmem2.Private }), Fails(pmem2.ErrSrcDevDaxPrivate), 0},
		"no granularity, and all wrong":  {all(at(1, 1), func(q *MapRequest) { q.GranularitySet = false }), Fails(pmem2.ErrGranularityNotSet), 0},
		"too fine a granularity":         {func(q *MapRequest) { q.Granularity = pmem2.GranularityByte }, Fails(pmem2.ErrGranularityNotSupported), 0},
		"read-only":                      {func(q *MapRequest) { q.Source.Access = ReadOnly }, Fails(pmem2.ErrNoAccess), 0},
		"append-only":                    {func(q *MapRequest) { q.Source.AppendOnly = true }, FailsWith(syscall.EACCES), 0},
		"a path":                         {func(q *MapRequest) { q.Source.Access = PathOnly }, FailsWith(syscall.EBADF), 0},
		"anonymous, of any offset":       {all(func(q *MapRequest) { q.Source.Kind = Anonymous }, at(5, testPage)), OK, testPage},
		"nearly 2^64 anonymous bytes":    {func(q *MapRequest) { q.Source = Source{Size: math.MaxUint64} }, FailsWith(syscall.ENOMEM), 0},
		"a reservation just full":        {reserved(10*testPage, 0), OK, 10 * testPage},
		"a page past a reservation":      {reserved(10*testPage, testPage), Fails(pmem2.ErrAddressUnaligned), 0},
		"behind a reservation":           {all(at(0, testPage), reserved(testPage, 1<<64-testPage)), Fails(pmem2.ErrAddressUnaligned), 0},
		"alignment before a reservation": {all(at(0, testPage), reserved(huge, 8), device), Fails(pmem2.ErrLengthUnaligned), 0},
		"misaligned in a reservation":    {reserved(huge, 8), Fails(pmem2.ErrOffsetUnaligned), 0},
		"a taken page":                   {reserved(huge, 0, Extent{huge + 9*testPage, testPage}), Fails(pmem2.ErrMappingExists), 0},
		"beside a taken page":            {reserved(huge, 0, Extent{huge + 10*testPage, testPage}), OK, 10 * testPage},
	} {
		got := Map(request(c.change))
		if got.Result != c.want || got.Size != c.size {
			t.Errorf("%s: got %v of %d bytes, want %v of %d", name, got.Result, got.Size, c.want, c.size)
		}
	}
}

// TestMapIsTotal: any request has one outcome, and a mapping that is granted is one.
func TestMapIsTotal(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 1))
	number := func() uint64 {
		edges := [...]uint64{0, testPage, huge, 10 * testPage, 1 << 31, 1 << 32, 1 << 47, 1 << 63, 1<<64 - testPage, 1<<64 - huge, math.MaxUint64}
		return edges[r.IntN(len(edges))] + uint64(r.IntN(3)) - 1
	}
	granted := 0
	for range 200_000 {
		q := request(func(q *MapRequest) {
			q.Source = Source{Kind: Kind(r.IntN(3)), Size: number(), Align: testPage, Access: Access(r.IntN(4)), AppendOnly: r.IntN(8) == 0}
			if q.Source.Kind == DeviceDAX && r.IntN(2) == 0 {
				q.Source.Align = huge
			}
			q.Offset, q.Length = number(), number()
			if r.IntN(2) == 0 {
				q.Offset, q.Length = uint64(r.IntN(12))*q.Source.Align, uint64(r.IntN(12))*q.Source.Align
			}
			q.Sharing, q.Prot = pmem2.Sharing(r.IntN(2)), pmem2.Prot(r.IntN(8))<<29
			q.Machine.Sync, q.Machine.EADR, q.Machine.NoRoom = r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0
			if r.IntN(3) == 0 {
				q.Reservation = &Reservation{Addr: number() &^ (testPage - 1), Size: number(), Offset: number(), Taken: []Extent{{number(), number()}}}
			}
		})
		got := Map(q)
		if again := Map(q); again != got {
			t.Fatalf("%+v: %+v, then %+v", q, got, again)
		}
		if got.Result != OK {
			if got.Size != 0 || got.Length != 0 || got.Addr != 0 {
				t.Fatalf("%+v: %+v: something is mapped", q, got)
			}
			continue
		}
		granted++
		end := got.Offset + got.Size
		if got.Size == 0 || end < got.Offset || end > q.Source.Size || got.Length < got.Size || got.Length-got.Size >= got.Align ||
			got.Length%got.Align != 0 || got.Addr%got.Align != 0 || got.Granularity > q.Granularity {
			t.Fatalf("%+v: %+v isn't a mapping in the source", q, got)
		}
		if r := q.Reservation; r != nil && (got.Addr-r.Addr > r.Size || r.Size-(got.Addr-r.Addr) < got.Length) {
			t.Fatalf("%+v: %+v isn't in the reservation", q, got)
		}
	}
	if granted < 1000 {
		t.Errorf("%d requests are granted, too few to tell", granted)
	}
}
