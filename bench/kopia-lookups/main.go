// Looks contents up in an opened kopia repository, by kopia's own library: it has no command that does only that.
// Standard input: ids, one a line. Standard output: one line of JSON with how many were found and the CPU seconds of the lookups alone.
// Usage: kopia-lookups CONFIG-FILE, with the password in KOPIA_PASSWORD.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"syscall"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/content"
)

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

func run(ctx context.Context) error {
	opened, err := repo.Open(ctx, os.Args[1], os.Getenv("KOPIA_PASSWORD"), nil)
	if err != nil {
		return err
	}
	defer opened.Close(ctx) //nolint:errcheck
	direct, ok := opened.(repo.DirectRepository)
	if !ok {
		return fmt.Errorf("%s is not a repository of its own", os.Args[1])
	}
	var ids []content.ID
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		id, err := content.ParseID(lines.Text())
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	found := 0
	before := cpuSeconds()
	for _, id := range ids {
		if _, err := direct.ContentReader().ContentInfo(ctx, id); err == nil {
			found++
		}
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"asked": len(ids), "found": found, "cpuSeconds": cpuSeconds() - before})
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
