module github.com/renat-project/renat

go 1.26
