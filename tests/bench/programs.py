"""The programs that are measured, for Lambdo and for what it is compared with."""

# language -> (path of the interpreter in the image, file name, content)
PROGRAMS = {
    "python": ("/usr/bin/python3", "main.py", "print('hello')\n"),
    "bash": ("/bin/bash", "main.sh", "echo hello\n"),
}


def run_body(language, version=""):
    _, file_name, content = PROGRAMS[language]
    return {"language": language, "version": version, "input": "", "code": [{"filename": file_name, "content": content}]}
