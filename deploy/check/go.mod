module github.com/renat-project/renat/deploy/check

go 1.26.0

replace github.com/renat-project/renat => ../..
