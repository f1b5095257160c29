"""One command from somebody's own clips to a report and a model, over the stages that there are."""
