// Sends one event to a secevent transmitter: go run send.go KEY < event.json
//
// KEY is the Idempotency-Key: take a name that the event keeps when this program runs again, such as a row id.
// Needs SECEVENT_ISSUER, SECEVENT_TOKEN_URL, SECEVENT_CLIENT and SECEVENT_SECRET.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"
)

var (
	client = &http.Client{Timeout: 30 * time.Second}
	until  = time.Now().Add(15 * time.Minute)
)

// call sends one request, repeats it while that can help, and returns its status and body.
func call(target string, body []byte, header http.Header) (int, []byte) {
	for delay := time.Second; ; delay = min(2*delay, time.Minute) {
		request, err := http.NewRequest(http.MethodPost, target, bytes.NewReader(body))
		if err != nil {
			fail("%v", err)
		}
		request.Header = header
		status, text, retryAfter := 0, []byte(nil), 0
		if answer, err := client.Do(request); err != nil {
			text = []byte(err.Error())
		} else {
			text, err = io.ReadAll(answer.Body)
			answer.Body.Close()
			status = answer.StatusCode
			if err != nil {
				status, text = 0, []byte(err.Error())
			} else if status != 408 && status != 429 && status < 500 {
				return status, text
			}
			retryAfter, _ = strconv.Atoi(answer.Header.Get("Retry-After"))
		}
		// The random part keeps producers apart that failed at the same moment.
		pause := delay/2 + time.Duration(rand.Int63n(int64(delay/2)))
		pause = max(pause, time.Duration(retryAfter)*time.Second)
		if time.Now().Add(pause).After(until) {
			fail("gave up after status %d, run it again with the same key: %s", status, text)
		}
		time.Sleep(pause)
	}
}

func getToken() string {
	request := http.Request{Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}
	request.SetBasicAuth(url.QueryEscape(os.Getenv("SECEVENT_CLIENT")), url.QueryEscape(os.Getenv("SECEVENT_SECRET")))
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"events.write"}}
	status, body := call(os.Getenv("SECEVENT_TOKEN_URL"), []byte(form.Encode()), request.Header)
	var granted struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &granted); status != 200 || err != nil {
		fail("no access token, status %d: %s", status, body)
	}
	return granted.AccessToken
}

func send(event []byte, key, token string) (int, []byte) {
	return call(os.Getenv("SECEVENT_ISSUER")+"/events", event, http.Header{
		"Authorization":   {"Bearer " + token},
		"Content-Type":    {"application/json"},
		"Idempotency-Key": {key},
	})
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

func main() {
	key := os.Args[1]
	event, err := io.ReadAll(os.Stdin)
	if err != nil {
		fail("%v", err)
	}
	status, body := send(event, key, getToken())
	if status == 401 { // The token has ended.
		status, body = send(event, key, getToken())
	}
	if status != 202 {
		fail("rejected, status %d: %s", status, body)
	}
	fmt.Println(string(body))
}
