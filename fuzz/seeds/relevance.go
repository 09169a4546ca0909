package seeds

import "strings"

// about are the targets that fuzz what a function promises, by the longest prefix of its name
// that is here.
var about = map[string]struct {
	targets string // in words
	reason  string // of there being none
}{
	"libpmem2":                  {targets: "Map Memory Flush Sysfs Crash"},
	"libpmem2_unsafe_shutdown":  {targets: "Sysfs"},
	"libpmemset":                {targets: "Set"},
	"libpmemset_shutdown_state": {targets: "Sysfs Set"},

	"pmem2_config_":              {targets: "Map"},
	"pmem2_config_set_vm_":       {targets: "Map Reservation"},
	"pmem2_map_new":              {targets: "Map Reservation"},
	"pmem2_map_get_":             {targets: "Map Existing Reservation"},
	"pmem2_map_delete":           {targets: "Existing Reservation Map"},
	"pmem2_map_from_existing":    {targets: "Existing"},
	"pmem2_vm_reservation_":      {targets: "Reservation Map"},
	"pmem2_source_from_":         {targets: "Map Sysfs"},
	"pmem2_source_get_fd":        {targets: "Map"},
	"pmem2_source_delete":        {targets: "Map"},
	"pmem2_source_size":          {targets: "Sysfs Map"},
	"pmem2_source_alignment":     {targets: "Sysfs Map"},
	"pmem2_source_numa_node":     {targets: "Sysfs"},
	"pmem2_source_device_":       {targets: "Sysfs"},
	"pmem2_source_pread_mcsafe":  {targets: "Media"},
	"pmem2_source_pwrite_mcsafe": {targets: "Media"},
	"pmem2_badblock_":            {targets: "Media Sysfs FaultPlan"},
	"pmem2_deep_flush":           {targets: "Flush Sysfs Crash"},
	"pmem2_get_drain_fn":         {targets: "Flush Crash"},
	"pmem2_get_flush_fn":         {targets: "Flush Crash"},
	"pmem2_get_persist_fn":       {targets: "Flush Crash"},
	"pmem2_get_mem":              {targets: "Memory Crash"},
	"pmem2_mem":                  {reason: "asynchronous operations aren't fuzzed"},
	"pmem2_errormsg":             {reason: "messages aren't fuzzed, what fails is"},
	"pmem2_perror":               {reason: "messages aren't fuzzed, what fails is"},
	"pmem2_source_from_anon":     {targets: "Map Existing"},

	"pmemset_":                          {targets: "Set"},
	"pmemset_config_set_event_callback": {targets: "Set Memory Flush"},
	"pmemset_deep_flush":                {targets: "Flush Crash"},
	"pmemset_drain":                     {targets: "Flush Crash"},
	"pmemset_flush":                     {targets: "Flush Crash"},
	"pmemset_persist":                   {targets: "Flush Crash"},
	"pmemset_mem":                       {targets: "Memory Crash"},
	"pmemset_badblock_":                 {targets: "Media Sysfs"},
	"pmemset_source_set_badblock_":      {targets: "Media Sysfs"},
	"pmemset_source_set_sds":            {targets: "Sysfs Set"},
	"pmemset_config_set_acceptable_":    {targets: "Sysfs Set"},
	"pmemset_source_pread_mcsafe":       {targets: "Media"},
	"pmemset_source_pwrite_mcsafe":      {targets: "Media"},
	"pmemset_errormsg":                  {reason: "messages aren't fuzzed, what fails is"},
	"pmemset_perror":                    {reason: "messages aren't fuzzed, what fails is"},
}

// targetsOf are the targets that fuzz what a function promises, or the reason why none does.
func targetsOf(function string) (targets []string, reason string) {
	best := ""
	for prefix := range about {
		if strings.HasPrefix(function, prefix) && len(prefix) > len(best) {
			best = prefix
		}
	}
	a := about[best]
	if a.targets == "" && a.reason == "" {
		return nil, "no target is about it"
	}
	return strings.Fields(a.targets), a.reason
}
