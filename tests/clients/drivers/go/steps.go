// The steps, for every client written in Go: as python_steps.py has them.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	root     = "file:///matrix"
	colour   = "ultramarine"
	reply    = "hello from the model"
	patience = 40 * time.Second
	leaves   = 6
)

type arguments map[string]any

// Peer is one connection of a client.
type Peer interface {
	// Version is the revision that was negotiated, and KeepsSession whether it has sessions.
	Version() string
	KeepsSession() bool
	// Lacks says by the step what the client does not offer.
	Lacks() map[string]string
	// Offered names the arguments that the schema of each tool has.
	Offered(ctx context.Context) (map[string]map[string]bool, error)
	// Call returns all that a result says; a result that is an error is one.
	Call(ctx context.Context, tool string, args arguments) (string, error)
	SetLevel(ctx context.Context) error
	Close() error
}

// Heard is what came to a connection besides answers.
type Heard struct {
	mutex    sync.Mutex
	logged   []string
	progress []float64
}

func (h *Heard) log(text string) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.logged = append(h.logged, text)
}

func (h *Heard) report(value float64) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.progress = append(h.progress, value)
}

func (h *Heard) snapshot() ([]string, []float64) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return slices.Clone(h.logged), slices.Clone(h.progress)
}

// Steps is one run of a driver.
type Steps struct {
	open    func(ctx context.Context, heard *Heard) (Peer, error)
	peer    Peer
	heard   *Heard
	offered map[string]map[string]bool
	mutex   sync.Mutex
	handle  string
	session string
	counts  int
	answers *bufio.Reader
}

func need(condition bool, found any) error {
	if condition {
		return nil
	}
	return fmt.Errorf("unexpected: %v", found)
}

func number(text, name string) (int, error) {
	found := regexp.MustCompile(name + `\W+(\d+)`).FindStringSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("unexpected: %s", text)
	}
	return strconv.Atoi(found[1])
}

var handlePattern = regexp.MustCompile(`session_id\W+([\w-]{16,})`)

func handleIn(text string) string {
	if found := handlePattern.FindStringSubmatch(text); found != nil {
		return found[1]
	}
	return ""
}

func textOf(result any, isError bool) (string, error) {
	data, err := json.Marshal(result)
	if err != nil {
		return "", err
	}
	text := strings.ReplaceAll(string(data), `\`, "")
	if isError {
		return "", fmt.Errorf("%s", text)
	}
	return text, nil
}

func say(line map[string]any) {
	data, _ := json.Marshal(line)
	fmt.Println(string(data))
}

func newToken() string {
	data := make([]byte, 8)
	_, _ = rand.Read(data)
	return hex.EncodeToString(data)
}

func (s *Steps) use(ctx context.Context, tool string, args arguments) (string, error) {
	s.mutex.Lock()
	if s.offered == nil {
		offered, err := s.peer.Offered(ctx)
		if err != nil {
			s.mutex.Unlock()
			return "", err
		}
		s.offered = offered
	}
	if s.handle != "" && s.offered[tool]["session_id"] && !s.peer.KeepsSession() {
		args["session_id"] = s.handle
	}
	s.mutex.Unlock()
	text, err := s.peer.Call(ctx, tool, args)
	if err != nil {
		return "", err
	}
	if handle := handleIn(text); handle != "" {
		s.mutex.Lock()
		s.handle = handle
		s.mutex.Unlock()
	}
	return text, nil
}

func (s *Steps) expect(ctx context.Context, tool string, args arguments, expected string) (string, error) {
	text, err := s.use(ctx, tool, args)
	if err != nil {
		return "", err
	}
	return text, need(strings.Contains(text, expected), text)
}

func (s *Steps) tools(ctx context.Context) (string, error) {
	data := arguments{"deep": []string{colour}}
	stored, err := s.expect(ctx, "store_app_state", arguments{"key": "colour", "data": data}, colour)
	if err != nil {
		return "", err
	}
	if _, err = s.expect(ctx, "get_app_state", arguments{"key": "colour"}, colour); err != nil {
		return "", err
	}
	ran, err := s.use(ctx, "lambda_operation", arguments{"operation": "matrix", "input": arguments{"batch": 1}})
	if err != nil {
		return "", err
	}
	if count, err := number(ran, "execution_count"); err != nil || count != 1 {
		return "", need(false, ran)
	}
	region := arguments{"region": "eu-west-1", "data": arguments{"warm": true}}
	if _, err = s.expect(ctx, "global_state", region, "warm"); err != nil {
		return "", err
	}
	if s.peer.KeepsSession() {
		s.session = handleIn(stored)
	}
	_, err = s.expect(ctx, "dynamodb_info", arguments{}, "tables")
	return "", err
}

func (s *Steps) oneMore(ctx context.Context) error {
	text, err := s.use(ctx, "count", arguments{})
	if err != nil {
		return err
	}
	s.counts++
	count, err := number(text, "count")
	if err != nil {
		return err
	}
	return need(count == s.counts, text)
}

func (s *Steps) counters(ctx context.Context) (string, error) {
	for range 5 {
		if err := s.oneMore(ctx); err != nil {
			return "", err
		}
	}
	var group sync.WaitGroup
	numbers, failures := make([]int, 8), make([]error, 8)
	for i := range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			text, err := s.use(ctx, "count", arguments{})
			if err == nil {
				numbers[i], err = number(text, "count")
			}
			failures[i] = err
		}()
	}
	group.Wait()
	slices.Sort(numbers)
	for i := range 8 {
		if failures[i] != nil {
			return "", failures[i]
		}
		if err := need(numbers[i] == s.counts+1+i, numbers); err != nil {
			return "", err
		}
	}
	s.counts += 8
	return fmt.Sprintf("counted to %d", s.counts), nil
}

func (s *Steps) progress(ctx context.Context) (string, error) {
	if _, err := s.peer.Call(ctx, "report", arguments{}); err != nil {
		return "", err
	}
	var values []float64
	for range 100 {
		if _, values = s.heard.snapshot(); len(values) >= 3 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return "", need(slices.Equal(values, []float64{1, 2, 3}), values)
}

func (s *Steps) logging(ctx context.Context) (string, error) {
	if err := s.peer.SetLevel(ctx); err != nil {
		return "", err
	}
	if _, err := s.peer.Call(ctx, "log", arguments{}); err != nil {
		return "", err
	}
	var texts []string
	for range 100 {
		if texts, _ = s.heard.snapshot(); len(texts) >= 3 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return "", need(slices.Equal(texts, []string{"entry 1", "entry 2", "entry 3"}), texts)
}

func (s *Steps) asking(tool, expected string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		text, err := s.peer.Call(ctx, tool, arguments{})
		if err != nil {
			return "", err
		}
		return "", need(strings.Contains(text, expected), text)
	}
}

func (s *Steps) became(ctx context.Context, peer Peer, token, expected string) error {
	seen := ""
	for range 80 {
		var err error
		if seen, err = peer.Call(ctx, "outcome", arguments{"token": token}); err != nil {
			return err
		}
		if strings.Contains(seen, expected) {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("the call is %s, not %s", seen, expected)
}

func (s *Steps) cancellation(ctx context.Context) (string, error) {
	token := newToken()
	calling, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		_, _ = s.peer.Call(calling, "wait", arguments{"seconds": 25, "token": token})
		close(done)
	}()
	if err := s.became(ctx, s.peer, token, "begun"); err != nil {
		return "", err
	}
	cancel()
	<-done
	return "", s.became(ctx, s.peer, token, "cancelled")
}

func (s *Steps) silence(ctx context.Context) (string, error) {
	args := arguments{"seconds": 3.5, "token": newToken(), "announced": true}
	text, err := s.peer.Call(ctx, "wait", args)
	if err != nil {
		return "", err
	}
	return "", need(strings.Contains(text, "waited to the end"), text)
}

func (s *Steps) restart(ctx context.Context) (string, error) {
	if s.counts == 0 {
		if err := s.oneMore(ctx); err != nil {
			return "", err
		}
	}
	say(map[string]any{"ask": "restart"})
	if _, err := s.answers.ReadString('\n'); err != nil {
		return "", err
	}
	for range 2 {
		if err := s.oneMore(ctx); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("counted on to %d", s.counts), nil
}

func (s *Steps) deleteInFlight(ctx context.Context) (string, error) {
	for range leaves {
		token := newToken()
		other, err := s.open(ctx, &Heard{})
		if err != nil {
			return "", err
		}
		// A client may wait for the answers to its calls before it leaves: whoever leaves gives them up.
		calling, giveUp := context.WithCancel(ctx)
		go func() { _, _ = other.Call(calling, "wait", arguments{"seconds": 4, "token": token}) }()
		if err = s.became(ctx, other, token, "begun"); err == nil {
			err = other.Close()
		}
		giveUp()
		if err != nil {
			return "", err
		}
	}
	return "", nil
}

func within(limit time.Duration, step func(context.Context) (string, error)) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return step(ctx)
}

// drive takes URL STEP[,STEP…] from the command line.
func drive(open func(ctx context.Context, url string, heard *Heard) (Peer, error)) {
	url, wanted := os.Args[1], strings.Split(os.Args[2], ",")
	s := &Steps{heard: &Heard{}, answers: bufio.NewReader(os.Stdin)}
	s.open = func(ctx context.Context, heard *Heard) (Peer, error) { return open(ctx, url, heard) }
	// What opens a connection may keep its context.
	peer, err := s.open(context.Background(), s.heard)
	if err != nil {
		say(map[string]any{"step": "connect", "ok": false, "detail": err.Error()})
		os.Exit(1)
	}
	s.peer = peer
	say(map[string]any{"step": "connect", "ok": true, "detail": peer.Version()})
	steps := map[string]func(context.Context) (string, error){
		"tools":            s.tools,
		"counters":         s.counters,
		"progress":         s.progress,
		"logging":          s.logging,
		"elicitation":      s.asking("ask", colour),
		"sampling":         s.asking("sample", reply),
		"roots":            s.asking("roots", root),
		"cancellation":     s.cancellation,
		"silence":          s.silence,
		"restart":          s.restart,
		"delete_in_flight": s.deleteInFlight,
	}
	for _, name := range wanted {
		if name == "connect" || name == "delete" {
			continue
		}
		if reason, lacks := peer.Lacks()[name]; lacks {
			say(map[string]any{"step": name, "ok": nil, "detail": reason})
			continue
		}
		limit := patience
		if name == "restart" {
			// Of which the processes' own start is most, when three are restarted.
			limit *= 4
		}
		detail, err := within(limit, steps[name])
		if err != nil {
			say(map[string]any{"step": name, "ok": false, "detail": err.Error()})
			continue
		}
		say(map[string]any{"step": name, "ok": true, "detail": detail})
	}
	if slices.Contains(wanted, "delete") {
		s.leave()
	}
}

func (s *Steps) leave() {
	_, err := within(patience, func(ctx context.Context) (string, error) {
		if s.session == "" {
			text, err := s.peer.Call(ctx, "lambda_operation", arguments{"operation": "leave", "input": nil})
			if err != nil {
				return "", err
			}
			s.session = handleIn(text)
		}
		return "", s.peer.Close()
	})
	if err != nil {
		say(map[string]any{"step": "delete", "ok": false, "detail": err.Error()})
		return
	}
	say(map[string]any{"step": "delete", "ok": true, "detail": "", "session": s.session})
}
