package trace

import "fmt"

// maxOffset bounds where a range in an object may end, so that sums don't wrap.
const maxOffset = 1 << 63

// check says what is wrong with l: no log of a machine is like that.
func (l *Log) check() error {
	for i, o := range l.Objects {
		if err := o.check(); err != nil {
			return fmt.Errorf("object %d: %w", i, err)
		}
	}
	for i, g := range l.Guilty {
		if err := l.checkGuilty(g); err != nil {
			return fmt.Errorf("guilty line %d: %w", i, err)
		}
	}
	var last uint64
	for i := range l.Events {
		if err := l.checkEvent(&l.Events[i], i == 0, last); err != nil {
			return fmt.Errorf("event %d: %w", i, err)
		}
		last = l.Events[i].Seq
	}
	return nil
}

func (o Object) check() error {
	if o.Unit != 0 && o.Unit != lineSize && o.Unit != sectorSize {
		return fmt.Errorf("unit is %d bytes, allowed are %d and %d", o.Unit, lineSize, sectorSize)
	}
	if o.Size > maxOffset {
		return fmt.Errorf("size is %d bytes, at most 1<<63 is allowed", o.Size)
	}
	return nil
}

func (l *Log) checkGuilty(g Guilty) error {
	if g.Object < -1 || g.Object >= len(l.Objects) {
		return fmt.Errorf("object is %d, allowed are -1 to %d", g.Object, len(l.Objects)-1)
	}
	return checkRange(g.Off, g.Len)
}

// checkEvent checks e, which is the first of the log or follows one with number last.
func (l *Log) checkEvent(e *Event, first bool, last uint64) error {
	switch {
	case e.Kind == 0 || e.Kind > lastKind:
		return fmt.Errorf("unknown kind %d", uint8(e.Kind))
	case !first && e.Seq < last:
		return fmt.Errorf("seq is %d, the event before has %d: they must not fall", e.Seq, last)
	case e.Object < -1 || e.Object >= len(l.Objects):
		return fmt.Errorf("object is %d, allowed are -1 to %d", e.Object, len(l.Objects)-1)
	case e.Kind.IsStore() && uint64(len(e.Data)) != e.Len:
		return fmt.Errorf("a %v of %d bytes has data of %d bytes", e.Kind, e.Len, len(e.Data))
	case !e.Kind.IsStore() && len(e.Data) > 0:
		return fmt.Errorf("a %v has data", e.Kind)
	}
	return checkRange(e.Off, e.Len)
}

func checkRange(off, n uint64) error {
	if off > maxOffset || n > maxOffset-off {
		return fmt.Errorf("offset %#x and length %#x reach beyond 1<<63", off, n)
	}
	return nil
}
