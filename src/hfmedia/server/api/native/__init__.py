"""The native API: jobs with everything that the gateway knows of them; used by the studio."""
