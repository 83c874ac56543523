// What the `ollama` command asks of a server for list, ps, show and run, asked by Ollama's own Go client, which finds
// the server by OLLAMA_HOST as the command does. Prints one JSON object a line.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/ollama/ollama/api"
)

func main() {
	if err := do(context.Background(), os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func do(ctx context.Context, verb string, words []string) error {
	client, err := api.ClientFromEnvironment()
	if err != nil {
		return err
	}
	if err := client.Heartbeat(ctx); err != nil {
		return err
	}
	switch verb {
	case "list":
		return say(client.List(ctx))
	case "ps":
		return say(client.ListRunning(ctx))
	case "version":
		return say(client.Version(ctx))
	case "show":
		return say(client.Show(ctx, &api.ShowRequest{Name: words[0]}))
	case "pull":
		return client.Pull(ctx, &api.PullRequest{Name: words[0]}, func(api.ProgressResponse) error { return nil })
	case "rm":
		return client.Delete(ctx, &api.DeleteRequest{Name: words[0]})
	case "run": // with a prompt on the command line
		if _, err := client.Show(ctx, &api.ShowRequest{Name: words[0]}); err != nil {
			return err
		}
		request := api.GenerateRequest{Model: words[0], Prompt: words[1], Options: map[string]any{}}
		return client.Generate(ctx, &request, func(part api.GenerateResponse) error { return say(part, nil) })
	case "talk": // without one: it loads the model, then talks
		load := api.GenerateRequest{Model: words[0]}
		if err := client.Generate(ctx, &load, func(api.GenerateResponse) error { return nil }); err != nil {
			return err
		}
		request := api.ChatRequest{
			Model:    words[0],
			Messages: []api.Message{{Role: "user", Content: words[1]}},
			Options:  map[string]any{},
		}
		return client.Chat(ctx, &request, func(part api.ChatResponse) error { return say(part, nil) })
	default:
		return fmt.Errorf("no such verb: %s", verb)
	}
}

func say(answer any, err error) error {
	if err != nil {
		return err
	}
	line, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return nil
}
