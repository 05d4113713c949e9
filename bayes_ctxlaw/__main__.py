"""``python -m bayes_ctxlaw`` does what ``bayes-ctxlaw`` does."""

from bayes_ctxlaw.cli import main

if __name__ == "__main__":
    main()
