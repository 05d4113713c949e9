"""``python -m bayes_ctxlaw.cli`` does what ``bayes-ctxlaw`` does."""

from bayes_ctxlaw.cli.app import main

if __name__ == "__main__":
    main()
