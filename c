{
 "passed": false,
 "exit_code": 2,
 "error": {
  "message": "'a\\x00b' is no path: embedded null byte",
  "fix": "Give the path of a file or folder."
 }
}
