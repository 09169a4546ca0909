package lab

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// schema is as much of a JSON schema as the one of Kubernetes here needs. What else a
// schema may say is an error when it is read.
type schema struct {
	Schema      string             `json:"$schema"`
	Comment     string             `json:"$comment"`
	Ref         string             `json:"$ref"`
	Definitions map[string]*schema `json:"definitions"`
	OneOf       []*schema          `json:"oneOf"`
	Type        any                `json:"type"` // a word, or several
	Enum        []string           `json:"enum"`
	Pattern     string             `json:"pattern"`
	Properties  map[string]*schema `json:"properties"`
	Additional  json.RawMessage    `json:"additionalProperties"` // false, or a schema
	Required    []string           `json:"required"`
	Items       *schema            `json:"items"`
}

func readSchema(t *testing.T) *schema {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(read(t, "testdata/kubernetes-1.37.schema.json")))
	d.DisallowUnknownFields()
	s := new(schema)
	if err := d.Decode(s); err != nil {
		t.Fatal(err)
	}
	return s
}

// validate tells what a document has that the schema doesn't allow, and lacks that it
// wants. A document is of one of the kinds of the schema, by its field kind.
func (s *schema) validate(document map[string]any) (wrong []string) {
	kind, _ := document["kind"].(string)
	for _, one := range s.OneOf {
		if name := strings.TrimPrefix(one.Ref, "#/definitions/"); name == kind {
			return one.check(s, kind, document)
		}
	}
	return []string{fmt.Sprintf("the schema has no kind %q", kind)}
}

// typeOf is the type of JSON that a value has.
func typeOf(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case int:
		return "integer"
	case float64:
		return "number"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	}
	return fmt.Sprintf("%T", v)
}

// allows reports whether a schema takes a type.
func (s *schema) allows(have string) bool {
	types, several := s.Type.([]any)
	if !several {
		types = []any{s.Type}
	}
	return slices.ContainsFunc(types, func(want any) bool { return want == have || want == "number" && have == "integer" })
}

// check is validate for a value at a path.
func (s *schema) check(root *schema, at string, v any) (wrong []string) {
	if s.Ref != "" {
		return root.Definitions[strings.TrimPrefix(s.Ref, "#/definitions/")].check(root, at, v)
	}
	if have := typeOf(v); !s.allows(have) {
		return []string{fmt.Sprintf("%s is of type %s, want %v", at, have, s.Type)}
	}
	switch v := v.(type) {
	case string:
		if s.Enum != nil && !slices.Contains(s.Enum, v) {
			wrong = append(wrong, fmt.Sprintf("%s is %q, want one of %q", at, v, s.Enum))
		}
		if !regexp.MustCompile(s.Pattern).MatchString(v) {
			wrong = append(wrong, fmt.Sprintf("%s is %q, want %s", at, v, s.Pattern))
		}
	case []any:
		for i, item := range v {
			wrong = append(wrong, s.Items.check(root, fmt.Sprintf("%s[%d]", at, i), item)...)
		}
	case map[string]any:
		for _, key := range s.Required {
			if _, ok := v[key]; !ok {
				wrong = append(wrong, fmt.Sprintf("%s has no %s", at, key))
			}
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			sub := s.Properties[key]
			if sub == nil && string(s.Additional) != "false" {
				sub = new(schema)
				if err := json.Unmarshal(s.Additional, sub); err != nil {
					return append(wrong, fmt.Sprintf("%s: the schema of any other field: %v", at, err))
				}
			}
			if sub == nil {
				wrong = append(wrong, fmt.Sprintf("%s has no field %s in the schema", at, key))
				continue
			}
			wrong = append(wrong, sub.check(root, at+"."+key, v[key])...)
		}
	}
	return wrong
}
