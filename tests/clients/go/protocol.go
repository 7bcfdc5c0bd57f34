// The protocol of a client program, for those in Go; tests/clients/README.md has it in words.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

var (
	endpoint = os.Getenv("STORY_ENDPOINT")
	region   = os.Getenv("AWS_REGION")
)

// store is a client, made once, at the first line that needs it, and kept.
type store interface {
	write(bucket, key, text string) error
	read(bucket, key string) (string, error)
}

func live(version string, newStore func() (store, error)) {
	tell(map[string]any{"version": version})
	var client store
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		start := time.Now()
		var err error
		if client == nil {
			client, err = newStore()
		}
		if err == nil {
			err = obey(client, strings.Fields(lines.Text()))
		}
		answer := map[string]any{"ok": err == nil, "ms": time.Since(start).Milliseconds()}
		if err != nil {
			answer["said"] = err.Error()
		}
		tell(answer)
	}
}

func obey(client store, words []string) error {
	prefix := os.Getenv("STORY_PREFIX")
	if words[0] == "foreign" {
		return client.write(os.Getenv("STORY_OTHER_BUCKET"), prefix+"/foreign", "must not arrive")
	}
	bucket, text := os.Getenv("STORY_BUCKET"), words[1]
	key := prefix + "/" + text
	if err := client.write(bucket, key, text); err != nil {
		return err
	}
	back, err := client.read(bucket, key)
	if err == nil && back != text {
		err = fmt.Errorf("wrote %q, read %q", text, back)
	}
	return err
}

func tell(line map[string]any) {
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		os.Exit(1) // the runner is gone
	}
}
