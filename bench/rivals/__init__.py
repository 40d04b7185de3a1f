"""The programs that Fleetcast is compared with, each with settings that are fair to it and frozen in a file beside this."""
