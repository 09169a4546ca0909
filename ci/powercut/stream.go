package powercut

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"pmemlab/ci/vm/plan"
)

// Stream is what a machine has told until its power was cut.
type Stream struct {
	// Found is what it found of the boot before.
	Found []Result
	// Acked is how many records it has acknowledged, by log.
	Acked map[string]int
}

// LogName tells the log of a place from its control.
func LogName(p plan.Place, o Options) string {
	if o.NoPersist {
		return p.Name + "-unpersisted"
	}
	return p.Name
}

func sendAck(w io.Writer, log string, seed uint64, n int) error {
	_, err := fmt.Fprintf(w, "ack %s %d %d\n", log, seed, n)
	return err
}

func sendResult(w io.Writer, r Result) error {
	text, err := json.Marshal(r)
	if err == nil {
		_, err = fmt.Fprintf(w, "found %s\n", text)
	}
	return err
}

// ReadStream reads what Cycle has written. Other lines are somebody else's, and a last one
// without an end doesn't count: the power was cut in the middle of it. The error says that
// acknowledgements aren't in order, or is one of reading.
func ReadStream(r io.Reader) (Stream, error) {
	s := Stream{Acked: map[string]int{}}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			return s, nil
		}
		if err != nil {
			return s, err
		}
		kind, rest, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		switch kind {
		case "ack":
			var log string
			var seed uint64
			var n int
			if _, err := fmt.Sscanf(rest, "%s %d %d", &log, &seed, &n); err != nil {
				return s, fmt.Errorf("line %q: %w", line, err)
			}
			if n != s.Acked[log] {
				return s, fmt.Errorf("line %q: record %d of the log comes next", line, s.Acked[log])
			}
			s.Acked[log]++
		case "found":
			var r Result
			if err := json.Unmarshal([]byte(rest), &r); err != nil {
				return s, fmt.Errorf("line %q: %w", line, err)
			}
			s.Found = append(s.Found, r)
		}
	}
}

// Flag is what the next boot is to be told with -acked: "ext4=12,ext4-unpersisted=12".
func (s Stream) Flag() string {
	var all []string
	for _, log := range slices.Sorted(maps.Keys(s.Acked)) {
		all = append(all, fmt.Sprintf("%s=%d", log, s.Acked[log]))
	}
	return strings.Join(all, ",")
}

// parseAcked reads what Flag makes; "" is nil.
func parseAcked(text string) (map[string]int, error) {
	if text == "" {
		return nil, nil
	}
	acked := map[string]int{}
	for part := range strings.SplitSeq(text, ",") {
		log, number, _ := strings.Cut(part, "=")
		n, err := strconv.ParseUint(number, 10, 31)
		if err != nil {
			return nil, fmt.Errorf("%q: the name of a log, = and a number are needed", part)
		}
		acked[log] = int(n)
	}
	return acked, nil
}
