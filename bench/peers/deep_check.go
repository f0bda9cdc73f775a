// The deep check that people write: a handler that pings the database for each question, through
// database/sql's pool.
//
//	deep_check DSN ADDRESS
package main

import (
	"context"
	"database/sql"
	"log"
	"net/http"
	"os"
	"time"

	_ "github.com/go-sql-driver/mysql"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: deep_check DSN ADDRESS")
	}
	db, err := sql.Open("mysql", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	db.SetMaxOpenConns(10)
	db.SetMaxIdleConns(10)
	http.HandleFunc("/health", func(answer http.ResponseWriter, asked *http.Request) {
		within, done := context.WithTimeout(asked.Context(), 2*time.Second)
		defer done()
		if err := db.PingContext(within); err != nil {
			http.Error(answer, err.Error(), http.StatusServiceUnavailable)
			return
		}
		answer.Write([]byte("ok\n"))
	})
	log.Fatal(http.ListenAndServe(os.Args[2], nil))
}
