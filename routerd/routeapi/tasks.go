package routeapi

import "time"

// Outbound tasks, and what is done to an open call.
//
//	POST   PathTasks                   NewTask: 201, or 200 if that very id is a task already; answered with the Task
//	GET    PathTasks                   []Task, by id
//	DELETE PathTasks/ID                ?reason=TEXT
//	POST   PathCalls/ID/card           Card: put onto the call's card
//	POST   PathCalls/ID/callback       CallbackRequest: the waiting caller is let go and called later
//	POST   PathCalls/ID/transfer       TransferCall
//	POST   PathCalls/ID/recording      Recording: what is said is kept, or not, from now on
//
// 400: the body is no such thing, and which field is wrong. 404: no such call or
// task. 409: it can't be done now. 422: a value is out of bounds, or names nothing.
const PathTasks = "/v1/tasks"

// NewTask asks for a call to a customer at a time.
type NewTask struct {
	ID       string            `json:"id"`     // from who asks: a repeat is the same task
	Number   string            `json:"number"` // E.164 with +
	Queue    string            `json:"queue"`
	Due      time.Time         `json:"due,omitzero"`    // none or in the past: now
	Expire   time.Time         `json:"expire,omitzero"` // none: 24 h after Due
	Priority int               `json:"priority,omitempty"`
	Attempts int               `json:"attempts,omitempty"`      // 0: 3
	Retry    float64           `json:"retry_seconds,omitempty"` // between them; 0: 300
	Card     map[string]string `json:"card,omitempty"`
}

// Task is a task that is not over.
type Task struct {
	ID       string            `json:"id"`
	State    string            `json:"state"`  // scheduled, calling
	Number   string            `json:"number"` // masked but for the last 4 digits
	Queue    string            `json:"queue"`
	Due      time.Time         `json:"due"`
	Expire   time.Time         `json:"expire"`
	Priority int               `json:"priority,omitempty"`
	Attempts int               `json:"attempts"` // at most; 0: 3
	Call     string            `json:"call,omitempty"`
	Card     map[string]string `json:"card,omitempty"`
}

// Card is what another system knows of a call; an empty value removes a key.
type Card struct {
	Card map[string]string `json:"card"`
}

// CallbackRequest turns a waiting call into a promised callback.
type CallbackRequest struct {
	Number string `json:"number,omitempty"` // E.164 with +; empty: the caller's
}

// Recording pauses the recording of a call, while a card's number is told, or goes
// on with it. It begins none.
type Recording struct {
	Paused *bool `json:"paused"` // required
}
