package report

import (
	"fmt"
	"io"
	"strings"
)

// WriteAnnotations writes the rows that failed or broke as GitHub Actions shows them
// beside a run, and the sums as a notice. GitHub shows ten errors of a step: the last of
// them says how many more there are.
func (r Report) WriteAnnotations(w io.Writer) error {
	const most = 10
	var lines []string
	for _, run := range r.Runs {
		for _, row := range run.Rows {
			if row.Status == Fail || row.Status == Error {
				title := fmt.Sprintf("%s: %s", run.Name(), row.ID)
				lines = append(lines, annotation("error", title, fmt.Sprintf("%s\n%s: %s", row.Condition, row.Status, row.Reason)))
			}
		}
	}
	if more := len(lines) - (most - 1); more > 1 {
		lines = append(lines[:most-1], annotation("error", "conformance", fmt.Sprintf("%d more rows failed or broke: see the report", more)))
	}
	lines = append(lines, annotation("notice", "conformance", r.LastLine()))
	_, err := io.WriteString(w, strings.Join(lines, ""))
	return err
}

// annotation is a workflow command; what has a meaning in one is escaped.
func annotation(kind, title, message string) string {
	text := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	return fmt.Sprintf("::%s title=%s::%s\n", kind, property.Replace(title), text.Replace(message))
}
