package libpmem2

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"sync"

	"pmemlab/conformance"
)

//go:embed divergences.json
var divergencesText []byte

// Divergences are the places in the cases where libpmem2 1.12.1 is known to do otherwise
// than the rulings, as divergences.json has them.
var Divergences = sync.OnceValue(func() []conformance.Divergence {
	var all []conformance.Divergence
	if err := json.Unmarshal(divergencesText, &all); err != nil {
		panic(fmt.Sprintf("divergences.json, which is compiled in: %v", err)) // a test rules it out
	}
	return all
})
