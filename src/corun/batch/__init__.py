"""A million files: any store, any scheduler, none done twice."""
