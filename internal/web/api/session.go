// SPDX-License-Identifier: Apache-2.0

package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	sessionPath   = "/v1/session"
	sessionCookie = "renat-session"
	// sessionLife is how long a browser stays signed in.
	sessionLife = 12 * time.Hour
	maxBody     = 4096
)

// session signs a browser in (POST with {"token": …}) or out (DELETE): it gets
// a cookie that scripts cannot read, is not the token, and ends with it.
func (a *Access) session(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if err := a.foreign.Check(r); err != nil {
		Refuse(w, &Problem{Status: http.StatusForbidden, Title: "another site asks", Detail: err.Error()})
		return
	}
	cookie := http.Cookie{Name: sessionCookie, Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode}
	switch r.Method {
	case http.MethodDelete:
		cookie.MaxAge = -1
	case http.MethodPost:
		token, problem := a.signIn(w, r)
		if problem != nil {
			Refuse(w, problem)
			return
		}
		cookie.MaxAge = int(sessionLife / time.Second)
		cookie.Value = cookieValue(token, time.Now().Add(sessionLife))
	default:
		w.Header().Set("Allow", "POST, DELETE")
		Refuse(w, &Problem{Status: http.StatusMethodNotAllowed, Title: "wrong method"})
		return
	}
	http.SetCookie(w, &cookie)
	w.WriteHeader(http.StatusNoContent)
}

// signIn returns the token if the request has it.
func (a *Access) signIn(w http.ResponseWriter, r *http.Request) (string, *Problem) {
	if a.config.TokenFile == "" {
		return "", &Problem{Status: http.StatusNotFound, Title: "there is no token"}
	}
	if p := private(r); p != nil {
		return "", p
	}
	if !a.signIns.Allow() {
		return "", &Problem{Status: http.StatusTooManyRequests, Title: "too many attempts", Detail: "wait a few seconds"}
	}
	var body struct {
		Token string `json:"token"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&body); err != nil {
		return "", &Problem{Status: http.StatusBadRequest, Title: "wrong body", Detail: `the body must be {"token": …}`}
	}
	token, err := a.token()
	if err != nil {
		return "", &Problem{Status: http.StatusServiceUnavailable, Title: "no token", Detail: "the file with the token cannot be used"}
	}
	if !same(strings.TrimSpace(body.Token), token) {
		return "", &Problem{Status: http.StatusUnauthorized, Title: "wrong token"}
	}
	return token, nil
}

// cookieValue is when the session ends, and a proof that the token's holder
// was told so.
func cookieValue(token string, end time.Time) string {
	until := strconv.FormatInt(end.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte("renat session until " + until))
	return until + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func validCookie(r *http.Request, token string, now time.Time) bool {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return false
	}
	until, _, _ := strings.Cut(c.Value, ".")
	end, err := strconv.ParseInt(until, 10, 64)
	return err == nil && now.Unix() < end && same(c.Value, cookieValue(token, time.Unix(end, 0)))
}
